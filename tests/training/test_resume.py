"""Interrupted and continued is bitwise the same as never interrupted."""

import random
import shutil
from pathlib import Path

import pytest
import tiny_run
from tiny_run import (
    STEPS,
    assert_same,
    end_at,
    loss_curve,
    newest_step,
    run,
    saved_state,
    spawn,
    tiny_config,
)

from diffax.data import Dataset


def run_until(workdir, config, step: int, how: str) -> int:
    """Trains in this process until it ends as told; the exit status."""
    return run(workdir, config, before_call=end_at(workdir, config, step, how))


def test_a_signal_loses_no_step(tmp_path, whole):
    # 1: before any regular save; 6: between saves and inside a line of metrics; 10: at a save.
    config, reference, state = whole
    for step in (1, 6, 10):
        workdir = tmp_path / str(step)
        assert run_until(workdir, config, step, "SIGTERM") == 143
        assert newest_step(workdir) == step + 1  # the step under way is finished
        assert run(workdir, config) == 0
        assert_same(saved_state(workdir, config, STEPS), state)
        assert loss_curve(workdir) == loss_curve(reference)


@pytest.mark.parametrize("how, status", [("SIGINT", 130), ("SIGUSR1", 143)])
def test_other_signals_mean_the_same(tmp_path, whole, how, status):
    assert run_until(tmp_path, whole[0], 6, how) == status
    assert newest_step(tmp_path) == 7


def test_a_crash_loses_what_came_after_the_last_save(tmp_path, whole):
    config, reference, state = whole
    for step in (2, 13, 19):  # interrupted again and again, at places that no save knows of
        with pytest.raises(tiny_run.Crash):
            run_until(tmp_path, config, step, "crash")
        assert (newest_step(tmp_path) or 0) == step // 5 * 5
    assert run(tmp_path, config) == 0
    assert_same(saved_state(tmp_path, config, STEPS), state)
    assert loss_curve(tmp_path) == loss_curve(reference)


def test_several_steps_a_call_change_nothing(tmp_path, whole):
    _, reference, state = whole
    config = tiny_config(steps_per_call=3)  # calls of 3 and shorter, one program
    assert run_until(tmp_path, config, 4, "SIGTERM") == 143
    assert newest_step(tmp_path) == 5
    assert run(tmp_path, config) == 0
    assert_same(saved_state(tmp_path, config, STEPS), state)
    assert loss_curve(tmp_path) == loss_curve(reference)


def test_a_finished_run_does_nothing_and_a_longer_one_goes_on(tmp_path, whole):
    config, reference, _ = whole
    workdir = tmp_path / "run"
    shutil.copytree(reference, workdir)
    assert run(workdir, config) == 0
    assert loss_curve(workdir) == loss_curve(reference)
    assert newest_step(workdir) == STEPS
    longer = tiny_config(steps=STEPS + 4)  # another learning-rate curve
    assert run(workdir, longer) == 0
    assert newest_step(workdir) == STEPS + 4
    assert loss_curve(workdir).startswith(loss_curve(reference))


def test_data_that_cannot_be_read_cost_no_step(tmp_path, whole, monkeypatch):
    config, reference, state = whole
    original = Dataset.batches

    def batches(self, first, count, **share):
        if first >= 12:
            raise ValueError("an image is broken")
        return original(self, first, count, **share)

    monkeypatch.setattr(Dataset, "batches", batches)
    with pytest.raises(ValueError, match="image is broken"):
        run(tmp_path, config)
    assert newest_step(tmp_path) == 12
    monkeypatch.undo()
    assert run(tmp_path, config) == 0
    assert_same(saved_state(tmp_path, config, STEPS), state)
    assert loss_curve(tmp_path) == loss_curve(reference)


def test_killed_in_a_process_of_its_own(tmp_path, whole, cache):
    config, reference, state = whole
    assert spawn(tmp_path, config, (7, "SIGKILL"), cache) == -9
    assert newest_step(tmp_path) == 5
    assert spawn(tmp_path, config, (12, "SIGTERM"), cache) == 143
    assert newest_step(tmp_path) == 13
    assert spawn(tmp_path, config, None, cache) == 0
    assert_same(saved_state(tmp_path, config, STEPS), state)
    assert loss_curve(tmp_path) == loss_curve(reference)


# ---------------------------------------------------------------- the whole matrix


@pytest.mark.slow
@pytest.mark.parametrize("how", ["SIGTERM", "SIGKILL"])
def test_killed_at_every_step(tmp_path, whole, cache, how):
    config, reference, state = whole
    for step in range(STEPS):
        workdir = tmp_path / str(step)
        status = spawn(workdir, config, (step, how), cache)
        if how == "SIGTERM":
            assert status == 143
            assert newest_step(workdir) == step + 1
        else:
            assert status == -9
            assert step - (newest_step(workdir) or 0) < 5
        assert spawn(workdir, config, None, cache) == 0
        assert_same(saved_state(workdir, config, STEPS), state)
        assert loss_curve(workdir) == loss_curve(reference)


@pytest.mark.slow
def test_killed_at_random_moments_of_saving(tmp_path, whole, cache):
    _, _, state = whole
    config = tiny_config(save_every=1)
    clock = random.Random(0)
    in_a_save, killed, moments = 0, 0, 60
    for i in range(moments):
        workdir = tmp_path / str(i)
        status = spawn(workdir, config, ("delay", clock.uniform(0, 3.0)), cache)
        assert status in (-9, 0)
        killed += status == -9
        in_a_save += bool(unfinished(workdir))
        assert spawn(workdir, config, None, cache) == 0
        assert_same(saved_state(workdir, config, STEPS), state)
    print(f"{moments} moments, {killed} killed, {in_a_save} with a save half done")
    assert in_a_save >= 50


def unfinished(workdir: Path) -> list[Path]:
    folders = (workdir / "checkpoints").glob("*")
    return [folder for folder in folders if not (folder / "manifest.json").exists()]
