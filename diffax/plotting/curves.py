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

    Where there are too few records for an average (below 50), the values alone. Where the metric
    is recorded by quartile of the time, too (`KEY_t1` to `KEY_t4`), a line for each.

    The axis is logarithmic where all values are positive.

    Args:
        records: lines of metrics.jsonl, in any order; those without "step" and `key`, or with a
            value that is not finite, are passed over.
        key: which metric.
        title: above the image.

    Returns:
        uint8 [500, 800, 3].
    """
    records = list(records)
    page = canvas.figure(800, 500)
    panel = _chart(page, title, "step", key)
    steps, values = _recorded(records, key)
    lowest = [values.min()] if len(values) else []
    for name, label, colour in _QUARTILES:
        places, part = _recorded(records, f"{key}_{name}")
        if len(part):
            lowest.append(part.min())
            average = _moving_average(part, _window(part))
            panel.plot(
                places,
                average,
                color=colour,
                linewidth=1.2,
                label=label,
                marker=_dot(part),
                markersize=4,
            )
    if len(values):
        window = _window(values)
        recorded = f"every {key} recorded"
        if window == 1:
            panel.plot(
                steps, values, color=canvas.INK, label=recorded, marker=_dot(values), markersize=4
            )
        else:
            average, over = _moving_average(values, window), f"average over {window} records"
            panel.plot(steps, values, color=canvas.FAINT, linewidth=1.0, label=recorded)
            panel.plot(steps, average, color=canvas.INK, linewidth=2.0, label=over)
    if lowest:
        if min(lowest) > 0:
            panel.set_yscale("log")
            _plain_numbers(panel)
        if len(lowest) > 1:  # many lines: beside them
            panel.legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(1.0, 1.0))
        else:
            panel.legend(frameon=False, fontsize=9)
    else:
        panel.text(0.5, 0.5, "no records", ha="center", transform=panel.transAxes)
    page.tight_layout()
    return canvas.pixels(page)


# From light to dark, as the noise grows.
_QUARTILES = (
    ("t1", "quarter of least noise", "#f2b701"),
    ("t2", "second quarter of time", "#e68310"),
    ("t3", "third quarter of time", "#cf1c90"),
    ("t4", "quarter of most noise", "#6c1c8c"),
)


def _recorded(records: Iterable[Mapping[str, float]], key: str) -> tuple[np.ndarray, np.ndarray]:
    """Steps and finite values of a metric, in order."""
    pairs = sorted((r["step"], float(r[key])) for r in records if "step" in r and key in r)
    pairs = [(step, value) for step, value in pairs if math.isfinite(value)]
    return (np.array([s for s, _ in pairs]), np.array([v for _, v in pairs]))


def _plain_numbers(panel: Axes) -> None:
    """0.9 instead of powers of ten on a logarithmic axis."""
    from matplotlib.ticker import LogLocator, NullFormatter

    low, high = panel.get_ylim()
    panel.yaxis.set_major_formatter("{x:g}")
    panel.yaxis.set_minor_locator(LogLocator(subs=tuple(range(2, 10))))
    few = high < 30 * low  # the numbers between powers of ten have room
    panel.yaxis.set_minor_formatter("{x:.3g}" if few else NullFormatter())


def _window(values: np.ndarray) -> int:
    """Records that a moving average goes over."""
    return max(1, len(values) // 25)


def _dot(values: np.ndarray) -> str | None:
    """Few values are seen as such; one would not be seen at all as a line."""
    return "o" if len(values) <= 10 else None


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
