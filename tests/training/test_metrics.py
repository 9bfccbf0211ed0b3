"""Lines of metrics, warnings, and numbers that are not finite."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
import tiny_run

from diffax.objectives import Mean
from diffax.training import NonFinite
from diffax.training.metrics import SpikeDetector, Window


def call(losses, finite=None, norm=1.0):
    n = len(losses)
    return {
        "loss": jnp.array(losses, jnp.float32),
        "gradient_norm": jnp.full((n,), norm),
        "update_ratio": jnp.full((n,), 0.5),
        "loss_t1": Mean(jnp.full((n,), 1.0), jnp.full((n,), 1.0)),
        "loss_t2": Mean(jnp.full((n,), 3.0), jnp.full((n,), 2.0)),
        "loss_t3": Mean(jnp.zeros((n,)), jnp.zeros((n,))),
        "vlb": jnp.full((n,), 7.0),
        "finite": jnp.array([True] * n if finite is None else finite),
    }


def test_a_line_is_the_mean_over_all_steps():
    window = Window()
    window.add(0, 2, call([1.0, 2.0, 99.0]))  # the third was not asked for
    window.add(2, 1, call([6.0]))
    window.collect(refuse_nonfinite=True)
    row = window.row()
    assert row["loss"] == 3 and row["gradient_norm"] == 1 and row["update_ratio"] == 0.5
    assert (row["loss_t1"], row["loss_t2"], row["vlb"]) == (1, 1.5, 7)
    # The same order in every line; nobody was in the third quartile.
    assert list(row) == ["loss", "gradient_norm", "update_ratio", "loss_t1", "loss_t2", "vlb"]
    assert window.saved() == {}


def test_a_window_goes_on_from_what_was_saved():
    whole, first = Window(), Window()
    for window in (whole, first):
        window.add(0, 2, call([0.1, 0.2]))
        window.collect(refuse_nonfinite=True)
    second = Window(json.loads(json.dumps(first.saved())))
    for window in (whole, second):
        window.add(2, 1, call([0.7]))
        window.collect(refuse_nonfinite=True)
    assert whole.row() == second.row()


WHOLE = {"loss": [0.5], "gradient_norm": [1], "update_ratio": [0.1], "finite": [True]}


@pytest.mark.parametrize(
    "change",
    [
        {"loss": 3},
        {"loss": [None]},
        {"loss": ["0.5"]},
        {"loss": [0.5, 0.25]},
        {"loss": [[0.5]]},
        {"loss_t1": [[1, 2, 3]]},
        {"loss_t1": [[[1, 2]]]},
        {"loss_t1": {}},
        {"loss_t1": [10**400]},
    ],
)
def test_a_damaged_window_is_one_line(change):
    assert Window(WHOLE | {"loss_t1": [[1, 2]]}).row()["loss_t1"] == 0.5
    with pytest.raises(ValueError, match="^window in a checkpoint's record.json should be [^\n]*$"):
        Window(WHOLE | change)
    for name in WHOLE:
        with pytest.raises(ValueError, match="window in a checkpoint's record.json"):
            Window({k: v for k, v in WHOLE.items() if k != name})
    with pytest.raises(ValueError, match="window in a checkpoint's record.json"):
        Window([1])


def test_the_step_that_went_wrong_is_named():
    window = Window()
    window.add(10, 3, call([1.0, np.nan, 1.0], [True, False, True]))
    with pytest.raises(NonFinite, match=r"loss nan.* at step 12 \(in the call of steps 11 to 13\)"):
        window.collect(refuse_nonfinite=True)


def test_left_out_steps_are_counted_and_not_averaged():
    window = Window()
    window.add(0, 2, call([1.0, np.inf], [True, False]))
    window.collect(refuse_nonfinite=False)
    row = window.row()
    assert row["loss"] == 1 and row["nonfinite"] == 1


def test_spikes():
    detector = SpikeDetector(3.0, [])
    assert [detector.check(1.0) for _ in range(5)] == [None] * 5
    assert detector.check(2.9) is None
    assert "4.0 times the usual 1" in detector.check(4.0)
    assert SpikeDetector(0.0, [1.0] * 9).check(100.0) is None
    assert SpikeDetector(3.0, [1.0] * 9).check(100.0)  # with the history of before


def test_a_run_stops_at_a_loss_that_is_not_finite(tmp_path, monkeypatch):
    poison(monkeypatch, step=12)
    with pytest.raises(NonFinite, match="at step 13 .*step 10 is kept.*--train.nonfinite skip"):
        tiny_run.run(tmp_path, tiny_run.tiny_config())
    assert tiny_run.newest_step(tmp_path) == 10
    rows = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert json.loads(rows[-1])["step"] == 12


def test_a_run_skips_it_if_told_to(tmp_path, monkeypatch, capsys):
    poison(monkeypatch, step=12)
    assert tiny_run.run(tmp_path, tiny_run.tiny_config(nonfinite="skip")) == 0
    rows = [json.loads(r) for r in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [row.get("nonfinite", 0) for row in rows] == [0, 0, 0, 1, 0]
    assert "1 updates were not finite" in capsys.readouterr().err
    state = tiny_run.saved_state(tmp_path, tiny_run.tiny_config(nonfinite="skip"), 20)
    assert state[".skipped"] == 1 and all(np.isfinite(v).all() for v in state.values())


def poison(monkeypatch, step: int) -> None:
    """Makes the data of one step not a number."""
    from diffax.data import Dataset

    original = Dataset.batches

    def batches(self, first, count, **share):
        batch = original(self, first, count, **share)
        if first <= step < first + count:
            batch["x"][step - first, 0] = np.nan
        return batch

    monkeypatch.setattr(Dataset, "batches", batches)


def test_a_line_of_a_run(whole):
    _, workdir, _ = whole
    rows = [json.loads(r) for r in (workdir / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [4, 8, 12, 16, 20]
    quartiles = ["loss_t1", "loss_t2", "loss_t3", "loss_t4"]
    for row in rows:
        names = ["step", "images", "loss", "gradient_norm", "update_ratio", *quartiles]
        assert list(row) == [*names, "learning_rate"]
        assert row["images"] == 32 * row["step"]
    # Warm-up over 3 steps, then the cosine from there to step 20; of the line's last step.
    expected = 1e-2 * 0.5 * (1 + np.cos(np.pi * (7 - 3) / 17))
    assert rows[1]["learning_rate"] == pytest.approx(expected, rel=1e-5)
