"""Solvers: how one interval of the grid is crossed, one file a family; `registry` names all."""

from diffax.solvers import registry
from diffax.solvers.adaptive import RK45
from diffax.solvers.consistency import LCM, TCD, Consistency
from diffax.solvers.ddim import DDIM, EulerAncestral
from diffax.solvers.ddpm import DDPM
from diffax.solvers.deis import DEIS
from diffax.solvers.description import Description, Name, Option
from diffax.solvers.dpm_solver import DPMSolver, DPMSolverPP, SDEDPMSolver, SDEDPMSolverPP
from diffax.solvers.edm import Euler, Heun
from diffax.solvers.inversion import DDIMInversion
from diffax.solvers.kdpm2 import KDPM2, KDPM2Ancestral
from diffax.solvers.keys import NoiseTape, initial_noise, sample_keys
from diffax.solvers.langevin import PredictorCorrector
from diffax.solvers.lms import LMS
from diffax.solvers.pndm import PLMS, PNDM
from diffax.solvers.singlestep import DPMSolverSinglestep
from diffax.solvers.solver import Solver
from diffax.solvers.tokens import Ancestral, Confident, TauLeaping
from diffax.solvers.unipc import UniPC

__all__ = [
    "DDIM",
    "DDPM",
    "DEIS",
    "KDPM2",
    "LCM",
    "LMS",
    "PLMS",
    "PNDM",
    "RK45",
    "TCD",
    "Ancestral",
    "Confident",
    "Consistency",
    "DDIMInversion",
    "DPMSolver",
    "DPMSolverPP",
    "DPMSolverSinglestep",
    "Description",
    "Euler",
    "EulerAncestral",
    "Heun",
    "KDPM2Ancestral",
    "Name",
    "NoiseTape",
    "Option",
    "PredictorCorrector",
    "SDEDPMSolver",
    "SDEDPMSolverPP",
    "Solver",
    "TauLeaping",
    "UniPC",
    "initial_noise",
    "registry",
    "sample_keys",
]
