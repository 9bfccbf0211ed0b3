"""Metrics while training: when, of what, and which checkpoint they keep."""

import dataclasses
import json
from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import pytest
import tiny_run
from tiny_run import assert_same, end_at, loss_curve, run, saved_state, tiny_config

from diffax.evaluation import Evaluation
from diffax.generation import generate
from diffax.training import Checkpoints, Keep, load_run
from diffax.training.clock import Clock
from diffax.training.loop import _postfix

calls: list = []


@dataclasses.dataclass(frozen=True)
class Probe:
    """The mean of a few samples, the loss on a few examples, and a bump with its top at step 10."""

    num: int = 4
    better: ClassVar[Mapping[str, str]] = {
        "mean": "lower", "probe_loss": "lower", "bump": "higher", "dent": "lower",
    }  # fmt: skip

    def __call__(self, watched):
        kernel = np.asarray(watched.model.network.params["params"]["dense_in"]["kernel"])
        calls.append(kernel)
        figures = watched.loss(watched.dataset.examples(np.arange(16)), tiny_run.jax.random.key(0))
        assert {"loss", "loss_t1"} <= set(figures) and watched.data.num == 512
        mean = float(np.mean(np.asarray(generate(watched.model, num=self.num).data)))
        bump = -abs(len(calls) - 2.0)
        return {"mean": mean, "probe_loss": figures["loss"], "bump": bump, "dent": -bump}


def config_of(**changes):
    config = tiny_config(**{"save_every": 5, "log_every": 4} | changes)
    return dataclasses.replace(config, evaluation=Evaluation(every=5, metrics=(Probe(),)))


def rows_of(workdir):
    return [json.loads(line) for line in loss_curve(workdir).splitlines()]


@pytest.fixture(scope="module")
def probed(tmp_path_factory):
    """A run with metrics: (config, folder, its rows)."""
    workdir, config = tmp_path_factory.mktemp("probed") / "run", config_of()
    calls.clear()
    assert run(workdir, config) == 0
    return config, workdir, rows_of(workdir)


def test_figures_are_in_the_lines_of_their_steps(probed):
    _, workdir, rows = probed
    names = ("mean", "probe_loss", "bump", "dent")
    measured = {row["step"]: [row[n] for n in names] for row in rows if "mean" in row}
    assert [row["step"] for row in rows] == [4, 5, 8, 10, 12, 15, 16, 20]
    assert list(measured) == [5, 10, 15, 20]
    assert [values[2] for values in measured.values()] == [-1, 0, -1, -2]
    assert list(rows[1])[-2:] == ["dent", "learning_rate"]
    # With the averaged parameters, as they are read back.
    model = load_run(workdir, step=10)
    np.testing.assert_array_equal(calls[1], model.network.params["params"]["dense_in"]["kernel"])
    mean = float(np.mean(np.asarray(generate(model, num=4).data)))
    assert measured[10][0] == pytest.approx(mean, abs=1e-6)


def test_metrics_change_nothing_of_what_is_learned(probed, whole):
    config, workdir, _ = probed
    assert_same(saved_state(workdir, config, tiny_run.STEPS), whole[2])


@pytest.mark.slow
def test_an_interrupted_run_leaves_the_same_lines(probed, tmp_path):
    config, reference, _ = probed
    calls.clear()
    for step in (4, 9, 11):  # ends at 5, 10, where figures are due, and at 12
        assert run(tmp_path, config, before_call=end_at(tmp_path, config, step, "SIGTERM")) == 143
        assert tiny_run.newest_step(tmp_path) == step + 1
    assert run(tmp_path, config) == 0
    assert loss_curve(tmp_path) == loss_curve(reference)
    assert len(calls) == 4  # not one twice


@pytest.mark.parametrize(
    "best, kept", [pytest.param("bump", 10, marks=pytest.mark.slow), ("step", 5)]
)
def test_the_best_checkpoint_is_kept_whichever_way_is_better(tmp_path, best, kept, capsys):
    calls.clear()
    assert run(tmp_path, config_of(keep_last=1, keep_best=best)) == 0
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    assert checkpoints.steps() == [kept, 20]
    assert "keep_best" not in capsys.readouterr().err


@pytest.mark.slow
def test_figures_of_another_step_rate_no_checkpoint(tmp_path, capsys):
    # Saved at 3, 6, ...: never where figures are measured, but at 15 and at the end.
    calls.clear()
    config = config_of(save_every=3, keep_last=2, keep_best="bump")
    assert run(tmp_path, config) == 0
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    assert checkpoints.steps() == [15, 18, 20]
    assert "bump" not in checkpoints.record(18)["metrics"]
    assert "loss" in checkpoints.record(18)["metrics"]
    assert "no metric" not in capsys.readouterr().err


def test_keep_knows_which_way_is_better():
    records = {n: {"metrics": {"x": v}} for n, v in enumerate([1.0, 3.0, 0.5, 2.0])}
    assert Keep(last=1, best="x").wanted(records) == {2, 3}
    assert Keep(last=1, best="x", better={"x": "lower"}).wanted(records) == {2, 3}
    assert Keep(last=1, best="x", better={"x": "higher"}).wanted(records) == {1, 3}
    assert Keep(last=1, best="x", better={"y": "higher"}).wanted(records) == {2, 3}


def test_evaluations_that_cannot_be():
    with pytest.raises(ValueError, match="every must be >= 0"):
        Evaluation(every=-1)
    with pytest.raises(ValueError, match="needs evaluation.metrics"):
        Evaluation(every=3)


def test_the_progress_line_has_the_newest_figure():
    figures = {"held_out_loss": 0.51234, "held_out_loss_t1": 0.9}
    line = _postfix({"loss": 0.25}, figures, Clock(batch_size=4, step=0))
    assert line.startswith("loss 0.2500, held_out_loss 0.5123, ") and "t1" not in line
