"""What is broken is found and named, and an older checkpoint takes its place."""

import dataclasses
import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_run
from tiny_run import STEPS, assert_same, run, saved_state, tiny_config

from diffax.training import Checkpoints, CorruptCheckpoint, Keep, SaveError
from diffax.training.keeping import manifest
from diffax.training.state import TrainState

ROOT = Path(__file__).parents[2]


def small_state(step: int, size: int = 4) -> TrainState:
    params = {"params": {"a": jnp.full((size, 2), step, jnp.float32)}}
    number = jnp.int32(step)
    return TrainState(params, (), {"decay_0.9": params}, number, jnp.int32(0), jax.random.key(step))


def save(checkpoints: Checkpoints, *steps: int, **metrics) -> None:
    for step in steps:
        values = {name: value[step] for name, value in metrics.items()}
        checkpoints.save(small_state(step), {"metrics": values})
    checkpoints.wait()


@pytest.fixture
def told():
    return []


@pytest.fixture
def checkpoints(tmp_path, told):
    made = Checkpoints(tmp_path / "checkpoints", report=told.append)
    yield made
    made.close()


def abstract(state: TrainState) -> TrainState:
    place = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place), state)


def damages(folder: Path):
    """Every file of a checkpoint, with everything that can befall it."""
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        yield path, "remove"
        if path.stat().st_size:
            yield path, "flip"
            yield path, "cut"
            yield path, "empty"


def damage(path: Path, how: str) -> None:
    data = path.read_bytes()
    if how == "flip":
        place = len(data) // 2
        path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
    elif how == "cut":
        path.write_bytes(data[:-1])
    elif how == "empty":
        path.write_bytes(b"")
    else:
        path.unlink()


def test_every_damage_to_every_file_is_named_and_the_older_one_used(checkpoints, told):
    save(checkpoints, 1, 2)
    newest = checkpoints.folder / "00000002"
    kinds, count = set(), 0
    for path, how in list(damages(newest)):
        before = path.read_bytes()
        damage(path, how)
        count += 1
        told.clear()
        assert checkpoints.newest_whole() == 1, (path, how)
        assert len(told) == 1 and str(newest) in told[0]
        assert path.relative_to(newest).as_posix() in told[0]
        if path.name != "manifest.json" or how != "remove":
            with pytest.raises(CorruptCheckpoint, match="is broken"):
                checkpoints.newest_whole(fall_back=False)
        kinds.add(path.name if "d" not in path.parent.name else "data")
        path.write_bytes(before)
    assert checkpoints.newest_whole() == 2 and count > 90
    assert {"manifest.json", "record.json", "manifest.ocdbt", "_METADATA", "data"} <= kinds


def test_every_bit_of_the_manifest_counts(checkpoints):
    save(checkpoints, 1)
    path = checkpoints.folder / "00000001" / "manifest.json"
    data = path.read_bytes()
    for place in range(0, len(data), max(1, len(data) // 100)):
        path.write_bytes(data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :])
        assert checkpoints.problems(1), place


def test_unfinished_folders_are_no_checkpoints(checkpoints, told):
    (checkpoints.folder / "00000007").mkdir(parents=True)
    assert checkpoints.newest_whole() is None and "never finished" in told[0]
    save(checkpoints, 5)
    assert checkpoints.newest_whole() == 5
    save(checkpoints, 8)  # what was never finished and is older goes away
    assert checkpoints.steps() == [5, 8]


def test_only_broken_ones_are_an_error_and_not_a_new_beginning(checkpoints):
    save(checkpoints, 1, 2)
    for step in (1, 2):
        damage(checkpoints.folder / f"{step:08d}" / "record.json", "flip")
    with pytest.raises(CorruptCheckpoint, match="no checkpoint .* is whole"):
        checkpoints.newest_whole()


def test_a_broken_one_is_replaced_by_its_successor(checkpoints):
    save(checkpoints, 1, 2)
    damage(checkpoints.folder / "00000002" / "record.json", "cut")
    assert checkpoints.newest_whole() == 1
    save(checkpoints, 2)
    assert checkpoints.newest_whole() == 2


def test_a_renamed_one_is_broken(checkpoints, told):
    save(checkpoints, 30, 40)
    (checkpoints.folder / "00000040").rename(checkpoints.folder / "00000050")
    assert checkpoints.newest_whole() == 30
    assert "00000050 is broken: record.json is of step 40, its folder's name says 50" in told[0]


@pytest.mark.parametrize(
    "change, words",
    [
        ({"step": "2"}, "'step' should be a whole number"),
        ({"arrays": []}, "'arrays' should be an object"),
        ({"arrays": {"a": 3}}, "'arrays' should be an object, each a list"),
        ({"metrics": {"loss": "low"}}, "'metrics' should be an object, each a number"),
        ({"data": {"seed": 2**70}}, "'data' should be an object, each a whole number"),
        ({"window": 7}, "'window' should be an object"),
        ({"frozen": [{"source": "vae"}]}, "frozen: 'fingerprint' is missing"),
        (None, "expected an object"),
    ],
)
def test_a_record_of_another_shape_is_broken(checkpoints, told, change, words):
    save(checkpoints, 1, 2)
    folder = checkpoints.folder / "00000002"
    path = folder / "record.json"
    record = None if change is None else json.loads(path.read_text()) | change
    path.write_text(json.dumps(record))
    manifest.write(folder)  # its checksums are right
    assert checkpoints.newest_whole() == 1
    assert len(told) == 1 and words in told[0] and "\n" not in told[0]


def test_a_metric_that_does_not_exist_is_named_once(tmp_path, told):
    checkpoints = Checkpoints(tmp_path, Keep(best="nosuch"), report=told.append)
    checkpoints.save(small_state(1), {})  # before the first line of metrics: nothing to judge by
    assert told == []
    save(checkpoints, 2, 3, loss={2: 1, 3: 1}, gradient_norm={2: 1, 3: 1})
    checkpoints.close()
    assert len(told) == 1
    assert "no metric 'nosuch'" in told[0] and "there are: loss, gradient_norm" in told[0]


def test_a_metric_that_is_no_number_is_never_best():
    records = {n: {"metrics": {"loss": x}} for n, x in enumerate([math.nan, 2.0, 1.0, math.inf])}
    assert Keep(last=1, best="loss").wanted(records) == {2, 3}


def test_restores_what_was_saved(checkpoints):
    state = small_state(3)
    checkpoints.save(state, {"window": {"loss": [0.1, 1 / 3]}})
    checkpoints.wait()
    back = checkpoints.restore(3, abstract(state))
    np.testing.assert_array_equal(back.trainable["params"]["a"], state.trainable["params"]["a"])
    assert int(back.step) == 3
    assert jax.random.key_data(back.key).tolist() == jax.random.key_data(state.key).tolist()
    assert checkpoints.record(3)["window"] == {"loss": [0.1, 1 / 3]}
    average = checkpoints.restore_params(3, abstract(state).trainable, "decay_0.9")
    np.testing.assert_array_equal(average["params"]["a"], state.trainable["params"]["a"])


def test_another_shape_is_refused_by_name(checkpoints):
    save(checkpoints, 1)
    with pytest.raises(ValueError, match=r"\['a'\] is float32\[4, 2\] there and float32\[5, 2\]"):
        checkpoints.restore(1, abstract(small_state(1, size=5)))


@pytest.mark.parametrize(
    "keep, left",
    [
        (Keep(last=2), [5, 6]),
        (Keep(last=1, every=2), [2, 4, 6]),
        (Keep(last=1, best="loss"), [3, 6]),
        (Keep(last=2, best="fid"), [5, 6]),
    ],
)
def test_what_is_kept(tmp_path, keep, left):
    checkpoints = Checkpoints(tmp_path, keep)
    save(checkpoints, 1, 2, 3, 4, 5, 6, loss={1: 5, 2: 4, 3: 1, 4: 2, 5: 3, 6: 2})
    checkpoints.close()
    assert checkpoints.steps() == left


def test_saving_does_not_see_later_changes(checkpoints):
    state = small_state(1, size=200_000)
    change = jax.jit(lambda s: jax.tree.map(lambda x: x * 0, s.trainable), donate_argnums=0)
    wanted = np.asarray(state.trainable["params"]["a"]).copy()
    checkpoints.save(state, {})
    change(state)  # the next step, into the very memory that is being written
    checkpoints.wait()
    back = checkpoints.restore_params(1, abstract(small_state(1, size=200_000)).trainable, None)
    np.testing.assert_array_equal(back["params"]["a"], wanted)


def test_a_save_that_fails_costs_nothing_but_itself(checkpoints, told, monkeypatch):
    save(checkpoints, 1)
    monkeypatch.setattr(manifest, "write", _no_space)
    checkpoints.save(small_state(2), {})
    with pytest.raises(SaveError, match="step 2 could not be saved.*No space.*step 1's is whole"):
        checkpoints.wait()
    assert len(told) == 1
    assert checkpoints.steps() == [1] and checkpoints.newest_whole() == 1
    monkeypatch.undo()
    save(checkpoints, 3)
    assert checkpoints.newest_whole() == 3


def _no_space(folder):
    raise OSError(28, "No space left on device")


def test_a_full_disk_is_noticed_before_anything_is_written(checkpoints, told, monkeypatch):
    save(checkpoints, 1)
    usage = shutil.disk_usage(checkpoints.folder)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=100))
    checkpoints.save(small_state(2), {})
    with pytest.raises(SaveError, match="disk full"):
        checkpoints.wait()
    assert checkpoints.steps() == [1]


FULL = """
import resource, signal
from test_checkpoints import Checkpoints, Path, save, small_state
from diffax.training import SaveError

told = []
checkpoints = Checkpoints(Path({folder!r}), report=told.append)
save(checkpoints, 1)
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
for step in range(2, 6):  # which of the storage library's threads fails first is chance
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    checkpoints.save(small_state(step), {{}})
    try:
        checkpoints.wait()
    except SaveError:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
assert len(told) == 4 and all("File too large; step 1's is whole" in line for line in told), told
save(checkpoints, 7)  # there is room again
checkpoints.close()
assert checkpoints.newest_whole() == 7
"""


@pytest.mark.slow
def test_the_storage_librarys_tracebacks_stay_away(tmp_path):
    # Files of 100 bytes at most, as on a disk that is full from now on.
    call = [sys.executable, "-c", FULL.format(folder=str(tmp_path))]
    env = os.environ | {"JAX_PLATFORMS": "cpu"}
    done = subprocess.run(call, env=env, cwd=ROOT, capture_output=True, text=True, timeout=200)
    assert (done.returncode, done.stderr) == (0, "")


# ---------------------------------------------------------------- in a run


def test_a_run_goes_on_from_the_newest_whole_one(tmp_path, whole, capsys):
    config, reference, state = whole
    shutil.copytree(reference, tmp_path / "run")
    workdir = tmp_path / "run"
    for step in (20, 15):
        data = next((workdir / "checkpoints" / f"{step:08d}" / "state").rglob("d/*"))
        damage(data, "flip")
    with pytest.raises(CorruptCheckpoint):
        run(workdir, config, fall_back=False)
    capsys.readouterr()
    assert run(workdir, config) == 0
    told = capsys.readouterr().err
    assert told.count("wrong checksum") == 2
    assert_same(saved_state(workdir, config, STEPS), state)
    assert tiny_run.loss_curve(workdir) == tiny_run.loss_curve(reference)


def test_another_config_is_shown_and_refused(tmp_path, whole):
    config, reference, _ = whole
    workdir = tmp_path / "run"
    shutil.copytree(reference, workdir)
    shutil.rmtree(workdir / "checkpoints" / f"{STEPS:08d}")
    before = (workdir / "config.json").read_text()
    other = dataclasses.replace(
        config,
        optimizer=dataclasses.replace(config.optimizer, learning_rate=0.5),
        train=dataclasses.replace(config.train, seed=1, log_every=2),
    )
    with pytest.raises(ValueError, match="train.seed: 0 -> 1") as error:
        run(workdir, other)
    assert "optimizer.learning_rate: 0.01 -> 0.5" in str(error.value)
    assert "log_every" not in str(error.value)  # that one may change
    assert (workdir / "config.json").read_text() == before
    other = dataclasses.replace(other, optimizer=config.optimizer)  # the same program
    assert run(workdir, other, allow_config_change=True) == 0
    assert json.loads((workdir / "config.json").read_text())["config"]["train"]["seed"] == 1
    assert tiny_run.newest_step(workdir) == STEPS


def test_foreign_folders_are_left_alone(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(ValueError, match="no run's folder"):
        run(tmp_path, tiny_config())
    with pytest.raises(ValueError, match="is a file"):
        (tmp_path / "file").write_text("mine")
        run(tmp_path / "file", tiny_config())
    with pytest.raises(ValueError, match="cannot write in --workdir"):
        run(Path("/proc/nothing/here"), tiny_config())
