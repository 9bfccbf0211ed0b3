"""How a model is sampled: the plan of one run, and the settings it comes from."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import jax.numpy as jnp
from jax import Array

from diffax import guidance
from diffax.denoiser import Denoiser
from diffax.parameterization import Parameterization
from diffax.sampling import check_combination, shortened, time_grid
from diffax.schedules import Discrete, Point, Schedule
from diffax.solvers import DDIM, Solver, choice, registry


@dataclass(frozen=True)
class Plan:
    """The points that a run visits, and how.

    Attributes:
        schedule: the noise schedule.
        parameterization: what the network is asked for.
        solver: makes the steps.
        grid: the points, `[S + 1]`.
        start_scale: of the standard normal noise that the run starts from, in x_t's own units.
        limits: clips or thresholds the guess of x0: Denoiser -> Denoiser.
    """

    schedule: Schedule
    parameterization: Parameterization
    solver: Solver
    grid: Point
    start_scale: Array
    limits: Callable[[Denoiser], Denoiser]


class Settings(Protocol):
    """How a model is sampled where a request does not say: what `Model.settings` offers.

    Attributes:
        steps: intervals of the grid.
        guidance: scale of classifier-free guidance; 1 or None: none.
        num: samples where nothing says how many.
        seed: of the noise.
        batch_size: samples drawn at once, at most; None: all.
    """

    steps: int
    guidance: float | None
    num: int
    seed: int
    batch_size: int | None

    def plan(self, schedule: Schedule, parameterization: Parameterization, request: Any) -> Plan:
        """The run that a request asks for."""


@dataclass(frozen=True)
class Sampling:
    """How samples are drawn, while training and by default afterwards."""

    solver: Solver = DDIM()
    """Makes the steps: ddim, ddpm, dpmpp_2m, ... with options of its own."""
    steps: int = 50
    """Intervals of the time grid, >= 1."""
    spacing: str = "trailing"
    """Where the grid's times are placed: trailing, leading, linspace, quadratic, karras, ..."""
    shift: float = 1.0
    """Moves the times of rectified_flow towards noise for larger data, > 0; 1: not at all."""
    guidance: float | None = None
    """Classifier-free guidance scale; None or 1: none."""
    clip: float | None = 1.0
    """Largest magnitude of the guessed clean data, in model space; None: as guessed."""
    num: int = 64
    """Samples in the grids made while training."""
    batch_size: int | None = 256
    """Samples drawn at once, at most; None: all."""
    seed: int = 0
    """Sample i depends on (seed, i) only."""
    quick: bool = False
    """Compile in half the time into a slower program, on a CPU."""

    def __post_init__(self) -> None:
        """Checks every number that can be judged without the schedule."""
        for name in ("steps", "num", "batch_size"):
            value = getattr(self, name)
            if value is not None and not 1 <= value <= 10**9:
                raise ValueError(f"sample.{name} must be >= 1 (and at most 10^9), got {value}")
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"sample.seed must lie in 0 to 4294967295, got {self.seed}")
        for name in ("clip", "guidance", "shift"):
            value = getattr(self, name)
            if value is not None and not (value > 0 and math.isfinite(value)):
                raise ValueError(f"sample.{name} must be > 0 and finite, or None, got {value}")

    def plan(
        self, schedule: Schedule, parameterization: Parameterization, request: Any = None
    ) -> Plan:
        """Grid and solver on a schedule, with what a request says instead.

        Raises:
            ValueError: an unknown sampler or spacing, an option it does not take, more steps than
                the schedule has, or a combination that cannot work.
        """
        solver, steps, spacing, strength = self.solver, self.steps, self.spacing, 1.0
        if request is not None:
            solver = chosen_solver(request, self.solver)
            steps = request.steps or self.steps
            spacing = "karras" if request.karras else request.spacing or self.spacing
            strength = request.strength
            if request.total is not None:
                raise ValueError("total is for published models; a run takes all its steps")
        solver = registry.with_schedule(solver, schedule)
        check_combination(solver, schedule, parameterization, steps=steps, spacing=spacing)
        grid = time_grid(schedule, steps, spacing, shift=self.shift)
        scale = jnp.ones_like(grid.sigma[0]) * grid.sigma[0]
        if strength is not None and strength < 1:
            grid = shortened(schedule, grid, strength)
        return Plan(schedule, parameterization, solver, grid, scale, self._limits)

    def _limits(self, denoiser: Denoiser) -> Denoiser:
        return denoiser if self.clip is None else guidance.Clip(denoiser, self.clip)


def chosen_solver(request: Any, default: Solver) -> Solver:
    """The solver that a request names, with its options; else the default one.

    Options that are not said are those of the default where it is of the same kind.

    Raises:
        ValueError: no such solver or option.
    """
    options = dict(request.options)
    solver = default if request.sampler is None else request.sampler
    if isinstance(solver, str):
        same_kind = type(default) is registry.lookup(solver).make
        if not same_kind or choice.name_of(default) != solver:
            return choice.make(solver, **options)
        solver = default
    return choice.replaced(solver, **options)


def cut(plan: Plan, fraction: float, part: str) -> Plan:
    """The part of a run before or after `fraction` of the noise is gone (XL base and refiner).

    Args:
        plan: the whole run.
        fraction: in (0, 1), such as 0.8.
        part: "before" or "after".
    """
    if not 0 < fraction < 1:
        raise ValueError(f"the point of handing over must be in (0, 1), got {fraction}")
    if not isinstance(plan.schedule, Discrete):
        raise ValueError(
            "handing over (stop_at, start_at) counts the steps of a table; this model's schedule, "
            f"{type(plan.schedule).__name__}, is continuous"
        )
    total = plan.schedule.num_steps
    before = int(jnp.sum(plan.grid.t[:-1] >= round(total - fraction * total)))
    if before in (0, plan.grid.t.shape[0] - 1):
        raise ValueError(f"handing over at {fraction} leaves no step on one side; use more steps")
    grid = plan.grid[: before + 1] if part == "before" else plan.grid[before:]
    return dataclasses.replace(plan, grid=grid)
