"""Sampling: a time grid, a solver, and the one `lax.scan` that runs them; editing on top."""

from diffax.sampling.combination import check_combination
from diffax.sampling.editing import (
    Inpainting,
    KeptInside,
    RePaint,
    interpolate,
    invert,
    noised,
    outpainting_canvas,
    repaint_grid,
    shortened,
    slerp,
)
from diffax.sampling.grids import SPACINGS, grid_from, time_grid
from diffax.sampling.loop import sample

__all__ = [
    "SPACINGS",
    "Inpainting",
    "KeptInside",
    "RePaint",
    "check_combination",
    "grid_from",
    "interpolate",
    "invert",
    "noised",
    "outpainting_canvas",
    "repaint_grid",
    "sample",
    "shortened",
    "slerp",
    "time_grid",
]
