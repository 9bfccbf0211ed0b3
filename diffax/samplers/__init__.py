"""Samplers: a time grid, a solver, and the one `lax.scan` that runs them."""

from diffax.samplers import registry
from diffax.samplers.adaptive import RK45
from diffax.samplers.compat import Setup, from_diffusers
from diffax.samplers.consistency import LCM, TCD
from diffax.samplers.ddim import DDIM
from diffax.samplers.ddpm import DDPM
from diffax.samplers.deis import DEIS
from diffax.samplers.dpm_solver import DPMSolver, DPMSolverPP, SDEDPMSolver, SDEDPMSolverPP
from diffax.samplers.editing import (
    Inpainting,
    RePaint,
    interpolate,
    invert,
    noised,
    outpainting_canvas,
    repaint_grid,
    shortened,
    slerp,
)
from diffax.samplers.euler import Euler, EulerAncestral
from diffax.samplers.grids import SPACINGS, grid_from, time_grid
from diffax.samplers.heun import Heun
from diffax.samplers.inversion import DDIMInversion
from diffax.samplers.kdpm2 import KDPM2, KDPM2Ancestral
from diffax.samplers.langevin import PredictorCorrector
from diffax.samplers.lms import LMS
from diffax.samplers.loop import NoiseTape, Solver, initial_noise, sample, sample_keys
from diffax.samplers.mixture import GaussianMixture
from diffax.samplers.pndm import PLMS, PNDM
from diffax.samplers.singlestep import DPMSolverSinglestep
from diffax.samplers.unipc import UniPC

__all__ = [
    "DDIM",
    "DDIMInversion",
    "DDPM",
    "DEIS",
    "DPMSolver",
    "DPMSolverPP",
    "DPMSolverSinglestep",
    "Euler",
    "EulerAncestral",
    "GaussianMixture",
    "Heun",
    "Inpainting",
    "KDPM2",
    "KDPM2Ancestral",
    "LCM",
    "LMS",
    "NoiseTape",
    "PLMS",
    "PNDM",
    "PredictorCorrector",
    "RK45",
    "RePaint",
    "SDEDPMSolver",
    "SDEDPMSolverPP",
    "SPACINGS",
    "Setup",
    "Solver",
    "TCD",
    "UniPC",
    "from_diffusers",
    "grid_from",
    "initial_noise",
    "interpolate",
    "invert",
    "noised",
    "outpainting_canvas",
    "registry",
    "repaint_grid",
    "sample",
    "sample_keys",
    "shortened",
    "slerp",
    "time_grid",
]
