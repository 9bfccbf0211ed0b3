"""Time series as lines."""

from __future__ import annotations

import math

import numpy as np

from diffax.plotting import canvas
from diffax.plotting.images import evenly_spaced

_WIDTH, _HEIGHT, _GAP = 240, 120, 6  # pixels of a panel
_MOST = 24  # series in one image


def series_grid(series: np.ndarray, *, columns: int = 4) -> np.ndarray:
    """Draws time series, a panel each and a colour a channel, all on the same axes.

    Args:
        series: `[N, L, C]`; 24 of them at most are drawn, evenly spaced.
        columns: panels in a row.

    Returns:
        uint8 `[height, width, 3]`.

    Raises:
        ValueError: another shape.
    """
    series = np.asarray(series, np.float64)
    if series.ndim != 3:
        raise ValueError(f"expected time series [N, L, C], got shape {list(series.shape)}")
    finite = series[np.isfinite(series)]
    low, high = np.quantile(finite, [0.001, 0.999]) if len(finite) else (-1.0, 1.0)
    margin = max(0.1 * (high - low), 1e-6)
    chosen = series[evenly_spaced(len(series), _MOST)]
    columns = min(columns, len(chosen))
    rows = math.ceil(len(chosen) / columns)
    width, height = columns * _WIDTH, rows * _HEIGHT
    page = canvas.figure(width, height)
    for i, one in enumerate(chosen):
        left, bottom = i % columns * _WIDTH + _GAP, height - (i // columns + 1) * _HEIGHT + _GAP
        size = ((_WIDTH - 2 * _GAP) / width, (_HEIGHT - 2 * _GAP) / height)
        panel = page.add_axes((left / width, bottom / height, *size))
        for channel, line in enumerate(one.T):
            panel.plot(line, color=canvas.COLOURS[channel % len(canvas.COLOURS)], linewidth=0.8)
        panel.set(xlim=(0, len(one) - 1), ylim=(low - margin, high + margin), xticks=[], yticks=[])
    return canvas.pixels(page)
