"""Samplers: a time grid, a solver, and the one `lax.scan` that runs them."""

from diffax.samplers.ddim import DDIM
from diffax.samplers.ddpm import DDPM
from diffax.samplers.loop import Solver, initial_noise, sample, sample_keys
from diffax.samplers.grids import SPACINGS, grid_from, time_grid

__all__ = [
    "DDIM",
    "DDPM",
    "SPACINGS",
    "Solver",
    "grid_from",
    "initial_noise",
    "sample",
    "sample_keys",
    "time_grid",
]
