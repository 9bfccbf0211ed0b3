"""Matplotlib through its objects, never through pyplot's hidden state: safe in threads."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np

if TYPE_CHECKING:  # Matplotlib is slow to import: only where something is drawn with it
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

INK, FAINT = "#1f4e79", "#9fbfdc"
COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#17becf", "#8c564b", "#e377c2")
HEIGHTS = ("#440154", "#46327e", "#365c8d", "#277f8e", "#1fa187", "#4ac16d", "#a0da39", "#fde725")
DPI = 100


def figure(width: int, height: int) -> Figure:
    """An empty page of so many pixels."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    page = Figure(figsize=(width / DPI, height / DPI), dpi=DPI)
    FigureCanvasAgg(page)
    return page


def pixels(page: Figure) -> np.ndarray:
    """The page as an image, uint8 [H, W, 3]."""
    canvas = cast("FigureCanvasAgg", page.canvas)  # see `figure`
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
