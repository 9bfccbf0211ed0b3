"""Curves of metrics."""

import numpy as np
import pytest

from diffax import plotting
from diffax.plotting import canvas

RNG = np.random.default_rng(0)


def test_curves_are_images_whatever_the_records():
    records = [{"step": s, "loss": 100.0 / (s + 1)} for s in range(200)]
    image = plotting.loss_curve(records, title="loss")
    assert image.shape == (500, 800, 3)
    odd = [{"step": 1, "loss": float("nan")}, {"note": "no step"}, {"step": 2, "loss": 3}]
    for records in (odd, odd[:2], []):
        assert plotting.loss_curve(iter(records)).shape == (500, 800, 3)
    assert not np.array_equal(image, plotting.loss_curve([]))


def test_the_curve_falls_where_the_loss_falls():
    image = plotting.loss_curve([{"step": s, "loss": 1.0 - s / 300} for s in range(200)])
    ink = np.abs(image.astype(int) - (0x1F, 0x4E, 0x79)).sum(-1) < 30
    ink = ink[40:450, 100:500]  # left of the legend
    tops = [np.argwhere(ink[:, c])[:, 0].mean() for c in range(50, 400, 50)]
    assert (np.diff(tops) > 0).all()


def test_charts_of_several_lines():
    series = {"ddim": ([5, 10, 20], [4.0, 2.0, np.nan]), "heun": ([5, 20], [3.0, 1.0])}
    image = plotting.line_chart(
        series, title="a", x_label="b", y_label="c", log_x=True, log_y=True, markers=True
    )
    assert image.shape == (500, 800, 3)
    assert plotting.line_chart({}, size=(300, 200)).shape == (200, 300, 3)


def lines(records, monkeypatch):
    """Label -> y values of what a loss curve draws."""
    with monkeypatch.context() as patch:
        patch.setattr(canvas, "pixels", lambda page: page)
        (panel,) = plotting.loss_curve(records).axes
    return {line.get_label(): line for line in panel.lines}


@pytest.mark.parametrize("count", [1, 2, 49])
def test_few_records_are_drawn_once_without_an_average(count, monkeypatch):
    drawn = lines([{"step": s, "loss": float(s)} for s in range(count)], monkeypatch)
    assert list(drawn) == ["every loss recorded"]
    line = drawn["every loss recorded"]
    assert line.get_ydata().tolist() == list(range(count))
    assert (line.get_marker() == "o") == (count <= 10)  # one value would not be seen as a line


def test_many_records_have_an_average_that_says_its_width(monkeypatch):
    drawn = lines([{"step": s, "loss": float(s % 3)} for s in range(75)], monkeypatch)
    assert list(drawn) == ["every loss recorded", "average over 3 records"]
    np.testing.assert_allclose(drawn["average over 3 records"].get_ydata()[1:-1], 1.0)


@pytest.mark.parametrize("count", [3, 75])
def test_quartiles_of_time_have_their_own_lines_on_a_logarithmic_axis(count, monkeypatch):
    parts = {f"loss_t{i}": float(i) for i in (1, 2, 3, 4)}
    drawn = lines([{"step": s, "loss": 2.5, **parts} for s in range(count)], monkeypatch)
    assert len(drawn) == 4 + (1 if count == 3 else 2)
    levels = {name: float(np.mean(line.get_ydata())) for name, line in drawn.items()}
    assert levels["quarter of least noise"] == 1 and levels["quarter of most noise"] == 4
    assert {line.axes.get_yscale() for line in drawn.values()} == {"log"}
    below = lines([{"step": s, "loss": s - 1.0} for s in range(count)], monkeypatch)
    assert {line.axes.get_yscale() for line in below.values()} == {"linear"}
