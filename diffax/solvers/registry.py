"""Every solver by name: what it is, what it takes, what it costs, and what it cannot do."""

import dataclasses
import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from diffax.schedules import Schedule
from diffax.solvers.adaptive import RK45
from diffax.solvers.consistency import LCM, TCD
from diffax.solvers.ddim import DDIM
from diffax.solvers.ddpm import DDPM
from diffax.solvers.deis import DEIS
from diffax.solvers.dpm_solver import DPMSolver, DPMSolverPP, SDEDPMSolver, SDEDPMSolverPP
from diffax.solvers.euler import Euler, EulerAncestral
from diffax.solvers.heun import Heun
from diffax.solvers.inversion import DDIMInversion
from diffax.solvers.kdpm2 import KDPM2, KDPM2Ancestral
from diffax.solvers.langevin import PredictorCorrector
from diffax.solvers.lms import LMS
from diffax.solvers.pndm import PLMS, PNDM
from diffax.solvers.singlestep import DPMSolverSinglestep
from diffax.solvers.solver import Solver
from diffax.solvers.unipc import UniPC


@dataclass(frozen=True)
class Entry:
    """What the registry knows of a solver.

    Attributes:
        make: the solver's class.
        summary: one line.
        order: of convergence; 0 where the question has no answer (few-step distilled models).
        calls: network calls of a run of S steps.
        stochastic: whether fresh noise enters by default.
        fixed: options this name sets.
    """

    make: Callable[..., Solver]
    summary: str
    order: int
    calls: str = "S"
    stochastic: bool = False
    fixed: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def options(self) -> dict[str, Any]:
        """Names and defaults of what the user may set."""
        return {
            f.name: f.default
            for f in dataclasses.fields(self.make)
            if f.name != "schedule" and f.name not in self.fixed
        }

    @property
    def takes_schedule(self) -> bool:
        """Whether the solver asks the network between grid points."""
        return any(f.name == "schedule" for f in dataclasses.fields(self.make))


SOLVERS: dict[str, Entry] = {
    "ddpm": Entry(DDPM, "ancestral sampling (Ho et al. 2020), for many steps", 1, stochastic=True),
    "ddim": Entry(DDIM, "deterministic (eta 0) to ancestral (eta 1) (Song et al. 2021)", 1),
    "euler": Entry(Euler, "Euler on the probability-flow ODE, with churn if asked", 1),
    "euler_ancestral": Entry(
        EulerAncestral, "Euler down, fresh noise up ('Euler a'); DDIM with eta 1", 1, "S", True
    ),
    "heun": Entry(Heun, "EDM's second-order sampler, with churn if asked", 2, "2 S - 1"),
    "kdpm2": Entry(KDPM2, "DPM-Solver-2 in EDM's variables ('DPM2')", 2, "2 S - 1"),
    "kdpm2_ancestral": Entry(
        KDPM2Ancestral, "DPM2 down, fresh noise up ('DPM2 a')", 1, "2 S - 1", True
    ),
    "dpmpp_2m": Entry(
        DPMSolverPP, "DPM-Solver++ multistep, order 2: the usual choice at 15-25 steps", 2
    ),
    "dpmpp_3m": Entry(
        DPMSolverPP,
        "DPM-Solver++ multistep, order 3, for unguided sampling",
        3,
        fixed=MappingProxyType({"order": 3}),
    ),
    "dpmpp_2m_sde": Entry(
        SDEDPMSolverPP, "SDE-DPM-Solver++ multistep ('DPM++ 2M SDE')", 1, "S", True
    ),
    "dpm_2m": Entry(DPMSolver, "DPM-Solver multistep on eps, order 2", 2),
    "dpm_3m": Entry(
        DPMSolver,
        "DPM-Solver multistep on eps, order 3",
        3,
        fixed=MappingProxyType({"order": 3}),
    ),
    "sde_dpm_2m": Entry(SDEDPMSolver, "SDE-DPM-Solver multistep on eps", 1, "S", True),
    "deis": Entry(DEIS, "exponential integrator, polynomial in log sigma (Zhang & Chen 2023)", 2),
    "dpmpp_2s": Entry(DPMSolverSinglestep, "DPM-Solver++ singlestep, order 2, on a logsnr grid", 2),
    "dpmpp_3s": Entry(
        DPMSolverSinglestep,
        "DPM-Solver++ singlestep, order 3, on a logsnr grid",
        3,
        fixed=MappingProxyType({"order": 3}),
    ),
    "dpm_2s": Entry(
        DPMSolverSinglestep,
        "DPM-Solver singlestep on eps, order 2, on a logsnr grid",
        2,
        fixed=MappingProxyType({"prediction": "eps"}),
    ),
    "dpm_3s": Entry(
        DPMSolverSinglestep,
        "DPM-Solver singlestep on eps, order 3, on a logsnr grid",
        3,
        fixed=MappingProxyType({"order": 3, "prediction": "eps"}),
    ),
    "unipc": Entry(UniPC, "predictor-corrector for 5-10 steps (Zhao et al. 2023)", 3),
    "lms": Entry(LMS, "linear multistep of order 4 in sigma (k-diffusion)", 4),
    "plms": Entry(PLMS, "pseudo linear multistep, Stable Diffusion's first sampler", 2, "S + 1"),
    "pndm": Entry(PNDM, "pseudo Runge-Kutta, then PLMS (Liu et al. 2022)", 2, "S + 9"),
    "flow_euler": Entry(Euler, "Euler along the straight path of flow matching", 1),
    "flow_heun": Entry(
        Heun,
        "Heun along the straight path of flow matching",
        2,
        "2 S - 1",
        fixed=MappingProxyType({"space": "straight"}),
    ),
    "rk45": Entry(RK45, "probability-flow ODE with adaptive steps (diffrax)", 5, "6 a try"),
    "langevin": Entry(
        PredictorCorrector, "predictor-corrector with Langevin steps (score_sde)", 1, "2 S", True
    ),
    "lcm": Entry(LCM, "for latent-consistency models, 1-8 steps (Luo et al. 2023)", 0, "S", True),
    "tcd": Entry(TCD, "for trajectory-consistency models, 1-8 steps (Zheng et al.)", 0, "S", True),
    "ddim_inversion": Entry(
        DDIMInversion, "from data to noise, on a grid turned round (grid[::-1])", 1
    ),
}


def build(name: str, schedule: Schedule | None = None, **options: Any) -> Solver:
    """A solver by name.

    Args:
        name: one of `SOLVERS`.
        schedule: the noise schedule, for the solvers that ask the network between grid points.
        options: the solver's own, such as `eta=0.5` or `order=3`; see `describe(name)`.

    Raises:
        ValueError: no such solver or option (the nearest are named), or a needed schedule missing.

    Example:
        >>> build("ddim", eta=0.5).eta
        0.5
    """
    entry = lookup(name)
    for option in options:
        if option not in entry.options:
            known = ", ".join(entry.options) or "none"
            raise ValueError(f"sampler {name} takes no option {option!r}; its options: {known}")
    arguments = dict(entry.fixed) | options
    if entry.takes_schedule and schedule is not None:
        arguments["schedule"] = schedule
    elif entry.takes_schedule and _required(entry.make, "schedule"):
        raise ValueError(f"sampler {name} asks the network between grid points: give schedule=...")
    return entry.make(**arguments)


def lookup(name: str) -> Entry:
    """What the registry knows of `name`; an unknown one is answered with the nearest."""
    if name not in SOLVERS:
        near = difflib.get_close_matches(name, SOLVERS, n=3, cutoff=0.4)
        hint = f"did you mean {', '.join(near)}? " if near else ""
        raise ValueError(f"no sampler {name!r}; {hint}there are: {', '.join(SOLVERS)}")
    return SOLVERS[name]


def describe(name: str | None = None) -> str:
    """One line a solver, for `--help`; with a name, that solver's line and options."""
    if name is None:
        return "\n".join(f"  {key:16} {_line(entry)}" for key, entry in SOLVERS.items())
    entry = lookup(name)
    options = ", ".join(
        f"{key}={value}" if value is not dataclasses.MISSING else key
        for key, value in entry.options.items()
    )
    return f"{name}: {_line(entry)}. Options: {options or 'none'}"


def _line(entry: Entry) -> str:
    return f"{entry.summary} [{entry.calls} calls]"


def _required(make: Callable[..., Solver], name: str) -> bool:
    return any(
        f.name == name and f.default is dataclasses.MISSING for f in dataclasses.fields(make)
    )
