"""Which points a pipeline visits, and how: from the model's scheduler settings and the options."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from diffax.pretrained.schedulers import Setup, from_diffusers
from diffax.sampling import time_grid
from diffax.solvers import Solver

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
) -> Setup:
    """Grid, solver and parameterization of one run.

    Args:
        scheduler: the model's `scheduler_config.json`.
        steps: steps taken.
        sampler: a name, a `Solver`, or None; see `diffax.pretrained.Options`.
        spacing: as in `Options`.
        karras: as in `Options`.
        eta: as in `Options`.
        strength: where to start, 1 from pure noise. The run takes the last `steps` of
            `steps / strength` steps, so that strength moves the points and not their number:
            `steps = int(S * strength)` is diffusers' run with S steps.

    Raises:
        ValueError: an unknown sampler or spacing, or more steps than the schedule has.
    """
    if not 0 < strength <= 1:
        raise ValueError(f"strength must be in (0, 1], got {strength}")
    total = round(steps / strength)
    limit = scheduler.get("num_train_timesteps", 1000)
    if total > limit:
        raise ValueError(
            f"{steps} steps at strength {strength} are the last of {total}, but the schedule has "
            f"{limit}; take at most {int(limit * strength)} steps"
        )
    own = isinstance(sampler, str | None)
    overrides: dict[str, Any] = {}
    if isinstance(sampler, str):
        if sampler not in SCHEDULERS:
            raise ValueError(f"unknown sampler {sampler!r}; known: {', '.join(SCHEDULERS)}")
        name, changes = SCHEDULERS[sampler]
        overrides = {"_class_name": name, **changes}
    elif not own:
        # Any scheduler will do: of it only the noise schedule and the prediction are used.
        overrides = {"_class_name": "DDIMScheduler"}
    if own and spacing is not None:
        overrides["timestep_spacing"] = spacing
    if own and karras:
        overrides["use_karras_sigmas"] = True
    if own and eta is not None:
        overrides["eta"] = eta
    setup = from_diffusers(scheduler, total, **overrides)
    if not own:
        spacing = "karras" if karras else spacing or "trailing"
        grid = time_grid(setup.schedule, total, spacing)
        scale = jnp.ones_like(setup.start_scale)
        setup = dataclasses.replace(setup, solver=sampler, grid=grid, start_scale=scale)
    return dataclasses.replace(setup, grid=setup.grid[-steps - 1 :])


def cut(setup: Setup, fraction: float, part: str) -> Setup:
    """The part of a run before or after `fraction` of the noise is gone (XL base and refiner).

    Args:
        setup: the whole run.
        fraction: in (0, 1), such as 0.8.
        part: "before" or "after".
    """
    if not 0 < fraction < 1:
        raise ValueError(f"the point of handing over must be in (0, 1), got {fraction}")
    total = setup.schedule.num_steps
    before = int(jnp.sum(setup.grid.t[:-1] >= round(total - fraction * total)))
    if before in (0, setup.grid.t.shape[0] - 1):
        raise ValueError(f"handing over at {fraction} leaves no step on one side; use more steps")
    grid = setup.grid[: before + 1] if part == "before" else setup.grid[before:]
    return dataclasses.replace(setup, grid=grid)
