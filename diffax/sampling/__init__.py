"""Sampling: a time grid, a solver, and the one `lax.scan` that runs them; editing on top.

`flow_log_likelihood` follows the same flow from data to noise.
"""

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
from diffax.sampling.likelihood import dequantized, flow_log_likelihood
from diffax.sampling.loop import sample

__all__ = [
    "SPACINGS",
    "Inpainting",
    "KeptInside",
    "RePaint",
    "check_combination",
    "dequantized",
    "flow_log_likelihood",
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
