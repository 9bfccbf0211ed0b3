"""Which solver goes with which schedule, network and grid."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from diffax.parameterization import Eps, Parameterization
from diffax.sampling.grids import NOISE_SPACINGS
from diffax.schedules import Discrete, Schedule
from diffax.solvers.registry import SOLVERS, build
from diffax.solvers.solver import Solver


def check_combination(
    solver: str | Solver,
    schedule: Schedule,
    parameterization: Parameterization | None = None,
    steps: int | None = None,
    options: Mapping[str, Any] | None = None,
    spacing: str | None = None,
) -> None:
    """Refuse what cannot work, with the reason, before anything is compiled.

    Args:
        solver: a solver, or one of the registry's names.
        schedule: the noise schedule.
        parameterization: what the network is asked for, where known.
        steps: intervals of the grid, where known.
        options: the options of a solver given by name.
        spacing: of the grid, where known.

    Raises:
        ValueError: the first reason found.

    Example:
        >>> from diffax import parameterization, schedules, solvers
        >>> check_combination(solvers.LMS(), schedules.linear(1000), parameterization.Eps(), 20)
    """
    # Spacings in noise level start where some signal is left.
    pure_noise = float(np.asarray(schedule.start.alpha)) == 0 and spacing not in NOISE_SPACINGS
    if pure_noise and isinstance(parameterization, Eps) and isinstance(schedule, Discrete):
        raise ValueError(
            "this schedule ends in pure noise (alpha = 0), where a network that predicts eps says "
            "nothing of the data: use a v- or x0-predicting model, or the schedule without "
            "zero_terminal_snr"
        )
    name = solver if isinstance(solver, str) else type(solver).__name__
    if isinstance(solver, str):
        solver = build(solver, schedule, **(options or {}))
    if not hasattr(solver, "description"):
        return  # a solver of the user's own, which says nothing of itself
    said = solver.description
    if pure_noise and said.told("needs_signal", solver):
        raise ValueError(
            f"sampler {name} steps in sigma / alpha, which is infinite at this schedule's "
            "pure-noise start: use dpmpp_2m, unipc, ddim or flow_heun, or spacing karras"
        )
    discrete = getattr(parameterization, "discrete", False)
    if parameterization is not None and said.discrete != discrete:
        own = [n for n, entry in SOLVERS.items() if entry.description.discrete]
        raise ValueError(
            f"sampler {name} is for Gaussian noise, and this model makes tokens: use "
            f"{', '.join(own)}"
            if discrete
            else f"sampler {name} is for tokens, and this model has Gaussian noise: use ddim"
        )
    if said.needs_table and not isinstance(schedule, Discrete):
        raise ValueError(
            f"sampler {name} is for models distilled on a table of times; this schedule has "
            "continuous time"
        )
    if steps is not None and steps < said.least_steps:
        raise ValueError(
            f"sampler {name} needs at least {said.least_steps} steps, got {steps}; use plms or ddim"
        )
