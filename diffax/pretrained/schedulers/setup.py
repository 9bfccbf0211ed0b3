"""A scheduler configuration as what our loop needs: schedule, grid, solver and the rest."""

from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import jax.numpy as jnp
from jax import Array

from diffax.parameterization import Parameterization
from diffax.pretrained.schedulers.limits import Limits, limits_of
from diffax.pretrained.schedulers.making import MAKERS
from diffax.pretrained.schedulers.noise import noise_schedule
from diffax.pretrained.schedulers.prediction import parameterization_of
from diffax.pretrained.schedulers.reading import read
from diffax.schedules import Point, Schedule
from diffax.solvers.solver import Solver


@dataclass(frozen=True)
class Setup:
    """What repeats a diffusers scheduler.

    Attributes:
        schedule: its noise schedule.
        parameterization: what its network is asked for.
        solver: its step.
        grid: its points, `[S + 1]`.
        start_scale: scale of the standard normal noise it starts from, in x_t's own units.
        limits: clips or thresholds x0 as its configuration says: Denoiser -> Denoiser.
    """

    schedule: Schedule
    parameterization: Parameterization
    solver: Solver
    grid: Point
    start_scale: Array
    limits: Limits


def from_diffusers(config: Mapping[str, Any], steps: int, **overrides: Any) -> Setup:
    """Schedule, solver and grid of a diffusers scheduler configuration.

    Options of the file that the scheduler does not read change nothing, as in diffusers; what the
    caller names is honoured or refused. `docs/samplers.md` lists the exceptions.

    Args:
        config: the contents of `scheduler_config.json`; `_class_name` names the scheduler.
        steps: number of inference steps S, 1 or more.
        overrides: configuration fields to change, such as `_class_name="EulerDiscreteScheduler"` or
            `use_karras_sigmas=True`; and `eta`, for the schedulers whose step takes it.

    Returns:
        A `Setup`. The state to start from is `start_scale * noise`.

    Raises:
        ValueError: a scheduler or option without a counterpart here, or a value of another kind
            than the option's.

    Example:
        >>> setup = from_diffusers({"_class_name": "DDIMScheduler"}, steps=10)
        >>> [int(t) for t in setup.grid.t]
        [900, 800, 700, 600, 500, 400, 300, 200, 100, 0, -1]
    """
    name, options = read(config, overrides)
    if isinstance(steps, bool) or not isinstance(steps, Integral) or steps < 1:
        raise ValueError(f"steps should be a whole number, 1 or more, got {steps!r}")
    schedule = noise_schedule(name, options)
    grid, solver, start_scale = MAKERS[name](schedule, int(steps), options)
    return Setup(
        schedule,
        parameterization_of(name, options),
        solver,
        grid,
        jnp.asarray(start_scale, grid.alpha.dtype),
        limits_of(name, options),
    )
