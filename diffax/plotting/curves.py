"""Curves over a common axis."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from diffax.plotting import canvas

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def line_chart(
    series: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    *,
    title: str = "",
    x_label: str = "",
    y_label: str = "",
    log_x: bool = False,
    log_y: bool = False,
    markers: bool = False,
    size: tuple[int, int] = (800, 500),
) -> np.ndarray:
    """Draws lines over a common axis.

    Args:
        series: name -> (x [K], y [K]); values that are not finite leave a gap.
        title, x_label, y_label: texts.
        log_x, log_y: logarithmic axes.
        markers: a dot on every value.
        size: (width, height) in pixels.

    Returns:
        uint8 [height, width, 3].
    """
    page = canvas.figure(*size)
    panel = _chart(page, title, x_label, y_label)
    for i, (name, (x, y)) in enumerate(series.items()):
        y = np.asarray(y, np.float64)
        y = np.where(np.isfinite(y), y, np.nan)
        colour = canvas.COLOURS[i % len(canvas.COLOURS)]
        panel.plot(np.asarray(x), y, color=colour, label=name, marker="o" if markers else None)
    if log_x:
        panel.set_xscale("log")
        places = np.unique(np.concatenate([np.asarray(x) for x, _ in series.values()]))
        if len(places) <= 12:  # few enough to be named: 5, 10, 20 instead of powers of ten
            panel.set_xticks(places, [f"{place:g}" for place in places])
            panel.xaxis.minorticks_off()
    if log_y:
        panel.set_yscale("log")
    if series:
        panel.legend(frameon=False)
    page.tight_layout()
    return canvas.pixels(page)


def loss_curve(
    records: Iterable[Mapping[str, float]], *, key: str = "loss", title: str = ""
) -> np.ndarray:
    """Draws a metric over the steps: every value lightly, a moving average over them.

    Where there are too few records for an average (below 50), the values alone.

    The axis is logarithmic where the values are positive and span more than a factor of 10.

    Args:
        records: lines of metrics.jsonl, in any order; those without "step" and `key`, or with a
            value that is not finite, are passed over.
        key: which metric.
        title: above the image.

    Returns:
        uint8 [500, 800, 3].
    """
    pairs = sorted((r["step"], float(r[key])) for r in records if "step" in r and key in r)
    pairs = [(step, value) for step, value in pairs if math.isfinite(value)]
    page = canvas.figure(800, 500)
    panel = _chart(page, title, "step", key)
    if pairs:
        steps, values = np.array(pairs).T
        window = max(1, len(values) // 25)
        recorded = f"every {key} recorded"
        if window == 1:
            marker = "o" if len(values) == 1 else None
            panel.plot(steps, values, color=canvas.INK, marker=marker, label=recorded)
        else:
            average, over = _moving_average(values, window), f"average over {window} records"
            panel.plot(steps, values, color=canvas.FAINT, linewidth=1.0, label=recorded)
            panel.plot(steps, average, color=canvas.INK, linewidth=2.0, label=over)
        if values.min() > 0 and values.max() > 10 * values.min():
            panel.set_yscale("log")
        panel.legend(frameon=False)
    else:
        panel.text(0.5, 0.5, "no records", ha="center", transform=panel.transAxes)
    page.tight_layout()
    return canvas.pixels(page)


def _moving_average(values: np.ndarray, window: int) -> np.ndarray:
    """Centred; at the ends over what there is."""
    kernel = np.ones(window)
    return np.convolve(values, kernel, "same") / np.convolve(np.ones_like(values), kernel, "same")


def _chart(page: Figure, title: str, x_label: str, y_label: str) -> Axes:
    panel = page.add_subplot()
    panel.set(xlabel=x_label, ylabel=y_label, title=title)
    panel.grid(True, color="#e5e5e5", linewidth=0.8)
    panel.set_axisbelow(True)
    panel.spines[["top", "right"]].set_visible(False)
    return panel
