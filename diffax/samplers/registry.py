"""Every solver by name: what it is, what it takes, what it costs, and what it cannot do."""

import dataclasses
import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np

from diffax.parameterization import Eps, Parameterization
from diffax.samplers.adaptive import RK45
from diffax.samplers.consistency import LCM, TCD
from diffax.samplers.ddim import DDIM
from diffax.samplers.ddpm import DDPM
from diffax.samplers.deis import DEIS
from diffax.samplers.dpm_solver import DPMSolver, DPMSolverPP, SDEDPMSolver, SDEDPMSolverPP
from diffax.samplers.euler import Euler, EulerAncestral
from diffax.samplers.grids import NOISE_SPACINGS
from diffax.samplers.heun import Heun
from diffax.samplers.inversion import DDIMInversion
from diffax.samplers.kdpm2 import KDPM2, KDPM2Ancestral
from diffax.samplers.langevin import PredictorCorrector
from diffax.samplers.lms import LMS
from diffax.samplers.loop import Solver
from diffax.samplers.pndm import PLMS, PNDM
from diffax.samplers.singlestep import DPMSolverSinglestep
from diffax.samplers.unipc import UniPC
from diffax.schedules import Discrete, Schedule


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


def check_combination(
    name: str,
    schedule: Schedule,
    parameterization: Parameterization | None = None,
    steps: int | None = None,
    options: Mapping[str, Any] | None = None,
    spacing: str | None = None,
) -> None:
    """Refuse what cannot work, with the reason, before anything is compiled.

    Args:
        name: one of `SOLVERS`.
        schedule: the noise schedule.
        parameterization: what the network is asked for, where known.
        steps: intervals of the grid, where known.
        options: the solver's options.
        spacing: of the grid, where known.

    Raises:
        ValueError: the first reason found.
    """
    entry = lookup(name)
    options = options or {}
    # Spacings in noise level start where some signal is left.
    pure_noise = float(np.asarray(schedule.start.alpha)) == 0 and spacing not in NOISE_SPACINGS
    if pure_noise and isinstance(parameterization, Eps) and isinstance(schedule, Discrete):
        raise ValueError(
            "this schedule ends in pure noise (alpha = 0), where a network that predicts eps says "
            "nothing of the data: use a v- or x0-predicting model, or the schedule without "
            "zero_terminal_snr"
        )
    if pure_noise and entry.make in (LMS, Heun, KDPM2, KDPM2Ancestral):
        if not (entry.make is Heun and dict(entry.fixed, **options).get("space") == "straight"):
            raise ValueError(
                f"sampler {name} steps in sigma / alpha, which is infinite at this schedule's "
                "pure-noise start: use dpmpp_2m, unipc, ddim or flow_heun, or spacing karras"
            )
    if entry.make in (LCM, TCD) and not isinstance(schedule, Discrete):
        raise ValueError(
            f"sampler {name} is for models distilled on a table of times; this schedule has "
            "continuous time"
        )
    if steps is not None and entry.make is PNDM and steps < 4:
        raise ValueError(f"sampler {name} needs at least 4 steps, got {steps}; use plms")
    eta = options.get("eta")
    if isinstance(eta, int | float) and not 0 <= eta:
        raise ValueError(f"eta should be at least 0, got {eta}")
