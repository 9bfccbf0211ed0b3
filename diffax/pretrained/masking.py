"""Keeping a part of a picture, as the published pipelines do.

`diffax.sampling.editing.Inpainting` differs in one thing: it takes the known part's noise from the
start, so that the start is already the known picture there. The published pipelines start from
noise everywhere.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jax import Array

from diffax.denoiser import Denoiser
from diffax.noun import noun
from diffax.parameterization import Prediction
from diffax.schedules import Point
from diffax.solvers import Solver


@noun
class KnownPart:
    """The part of a picture that is kept.

    Attributes:
        known: the clean latents, `[B, h, w, C]`.
        noise: their noise, the same at every step.
        mask: `[B, h, w, 1]`, 1 where the picture is made anew.
    """

    known: Array
    noise: Array
    mask: Array

    def put_back(self, x: Array, point: Point) -> Array:
        """`x` with the known part as it is at `point`."""
        at = point.broadcast(x)
        return self.mask * x + (1 - self.mask) * (at.alpha * self.known + at.sigma * self.noise)


@noun
class MaskedDenoiser:
    """A denoiser that sees the known part at the right noise level inside a solver's step too.

    Attributes:
        denoiser: what is wrapped.
        part: what is kept.
        start: time of the first point, where the state is taken as it is: in the published
            pipelines a picture that is made from pure noise starts as noise everywhere.
    """

    denoiser: Denoiser
    part: KnownPart
    start: Array

    def __call__(self, x: Array, point: Point) -> Prediction:
        """The wrapped guess."""
        x = jnp.where(point.broadcast(x).t < self.start, self.part.put_back(x, point), x)
        return self.denoiser(x, point)


@noun
class MaskedSolver:
    """A solver after each of whose steps the known part is put back (Lugmayr et al. 2022, eq. 8).

    The noise is the same at every step, as in the published pipelines.
    """

    solver: Solver
    part: KnownPart

    def init(self, x: Array, grid: Point) -> Any:
        """The wrapped solver's state."""
        return self.solver.init(x, grid)

    def step(
        self, denoiser: Denoiser, x: Array, state: Any, here: Point, there: Point, keys: Array
    ) -> tuple[Array, Any]:
        """The wrapped solver's step, then the known part at `there`."""
        x, state = self.solver.step(denoiser, x, state, here, there, keys)
        return self.part.put_back(x, there), state
