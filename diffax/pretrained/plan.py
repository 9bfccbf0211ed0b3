"""Which points a pipeline visits, and how: from the model's scheduler settings and the options."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from diffax.pretrained.schedulers import Setup, from_diffusers
from diffax.sampling import time_grid
from diffax.solvers import DEIS, DPMSolver, DPMSolverPP, SDEDPMSolver, SDEDPMSolverPP, Solver, UniPC

_LOWERED_WHEN_SHORT = (DEIS, DPMSolver, DPMSolverPP, SDEDPMSolver, SDEDPMSolverPP)
# Runs of fewer steps end in lower orders (`lower_order_final`).
SHORT_RUN = 15

_SIGMAS = ("karras", "exponential", "beta")  # spacings in noise level that schedulers have

# Our samplers' names -> the scheduler of the published settings, and what to change in it.
SCHEDULERS: dict[str, tuple[str, dict[str, Any]]] = {
    "ddpm": ("DDPMScheduler", {}),
    "ddim": ("DDIMScheduler", {}),
    "plms": ("PNDMScheduler", {"skip_prk_steps": True}),
    "pndm": ("PNDMScheduler", {"skip_prk_steps": False}),
    "euler": ("EulerDiscreteScheduler", {}),
    "euler_ancestral": ("EulerAncestralDiscreteScheduler", {}),
    "heun": ("HeunDiscreteScheduler", {}),
    "kdpm2": ("KDPM2DiscreteScheduler", {}),
    "kdpm2_ancestral": ("KDPM2AncestralDiscreteScheduler", {}),
    "lms": ("LMSDiscreteScheduler", {}),
    "dpmpp_2m": ("DPMSolverMultistepScheduler", {"algorithm_type": "dpmsolver++"}),
    "dpmpp_3m": (
        "DPMSolverMultistepScheduler",
        {"algorithm_type": "dpmsolver++", "solver_order": 3},
    ),
    "dpmpp_2m_sde": ("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}),
    "deis": ("DEISMultistepScheduler", {}),
    "unipc": ("UniPCMultistepScheduler", {}),
}


def plan(
    scheduler: Mapping[str, Any],
    steps: int,
    *,
    sampler: str | Solver | None = None,
    spacing: str | None = None,
    karras: bool = False,
    eta: float | None = None,
    strength: float = 1.0,
    total: int | None = None,
) -> Setup:
    """Grid, solver and parameterization of one run.

    Strength moves the points and not their number: all `steps` are taken, the last of a whole run
    of `total`. diffusers' image-to-image with S steps at strength s takes the last `int(S * s)` of
    S; so `plan(scheduler, int(S * s), strength=s, total=S)` has its times.

    Args:
        scheduler: the model's `scheduler_config.json`.
        steps: steps taken.
        sampler: a name, a `Solver`, or None; see `diffax.pretrained.Options`.
        spacing: as in `Options`.
        karras: as in `Options`.
        eta: as in `Options`.
        strength: where to start, 1 from pure noise.
        total: steps of the whole run; None: `whole_run(steps, strength)`.

    Raises:
        ValueError: an unknown sampler or spacing, more steps than the schedule has, or a total of
            which the strength leaves another number of steps.

    Example:
        >>> [int(t) for t in plan({"_class_name": "DDIMScheduler"}, 3, strength=0.3).grid.t]
        [200, 100, 0, -1]
    """
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}")
    if not 0 < strength <= 1:
        raise ValueError(f"strength must be in (0, 1], got {strength}")
    if total is None:
        total = whole_run(steps, strength)
    elif steps != _taken(total, strength):
        raise ValueError(
            f"of a run of {total} steps strength {strength} leaves {_taken(total, strength)}, "
            f"got steps={steps}; leave total out or give steps={_taken(total, strength)}"
        )
    limit = scheduler.get("num_train_timesteps", 1000)
    if isinstance(limit, int) and total > limit:
        raise ValueError(
            f"{steps} steps at strength {strength} are the last of {total}, but the schedule has "
            f"{limit}; take at most {int(limit * strength)} steps"
        )
    if not isinstance(sampler, str | None):
        return _own_solver(scheduler, steps, total, sampler, "karras" if karras else spacing)
    overrides: dict[str, Any] = {}
    if sampler is not None:
        if sampler not in SCHEDULERS:
            raise ValueError(f"unknown sampler {sampler!r}; known: {', '.join(SCHEDULERS)}")
        name, changes = SCHEDULERS[sampler]
        overrides = {"_class_name": name, **changes}
    spacing = "karras" if karras else spacing
    if spacing in _SIGMAS:
        overrides[f"use_{spacing}_sigmas"] = True
    elif spacing is not None:
        overrides["timestep_spacing"] = spacing
    if eta is not None:
        overrides["eta"] = eta
    return _last(from_diffusers(scheduler, total, **overrides), steps)


def _own_solver(
    scheduler: Mapping[str, Any], steps: int, total: int, solver: Solver, spacing: str | None
) -> Setup:
    """A run of a solver of ours: of the settings only noise schedule and prediction are used."""
    setup = from_diffusers(scheduler, total, _class_name="DDIMScheduler")
    grid = time_grid(setup.schedule, total, spacing or "trailing")[-steps - 1 :]
    scale = jnp.ones_like(setup.start_scale)
    return dataclasses.replace(setup, solver=solver, grid=grid, start_scale=scale)


def whole_run(steps: int, strength: float) -> int:
    """The shortest run of which `steps` are left at this strength: `ceil(steps / strength)`.

    It is counted as diffusers counts, so that its run of so many steps at this strength has the
    same points.

    Args:
        steps: steps taken, 1 or more.
        strength: in (0, 1].

    Example:
        >>> whole_run(7, 0.75)
        10
    """
    total = math.ceil(steps / strength)
    while _taken(total, strength) < steps:
        total += 1
    while total > steps and _taken(total - 1, strength) >= steps:
        total -= 1
    return total


def _taken(total: int, strength: float) -> int:
    """Steps of diffusers' run with `total` steps; cut off, rounding of the product included."""
    return min(int(total * strength), total)


def _last(setup: Setup, steps: int) -> Setup:
    """The last `steps` steps of a run."""
    total = setup.grid.t.shape[0] - 1
    solver = setup.solver
    if steps == total:
        return setup
    if isinstance(solver, _LOWERED_WHEN_SHORT) and total >= SHORT_RUN:
        # It is the whole run whose length decides whether the last orders are lowered.
        solver = dataclasses.replace(solver, lower_order_final=False)
    if isinstance(solver, UniPC):
        # Steps without the corrector are counted from the whole run's first.
        solver = dataclasses.replace(
            solver, correct_from=max(0, solver.correct_from - (total - steps))
        )
    return dataclasses.replace(setup, solver=solver, grid=setup.grid[-steps - 1 :])
