"""Text guidance and masking, as the published pipelines do them, on the one sampling loop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from diffax.denoiser import Denoiser, Network
from diffax.parameterization import Prediction
from diffax.samplers import Solver
from diffax.schedules import Point


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class TextGuided:
    """Classifier-free guidance on the network's own answer, with rescaling.

    The answer `u + scale (c - u)` is brought back towards the spread of `c`, per picture
    (Lin et al. 2023, eq. 15-16): rescaling x0 or eps instead would not be the same.

    Attributes:
        network: with the prompt's condition.
        null: the negative prompt's condition.
        scale: guidance scale, scalar or `[B]`; traced.
        rescale: share of rescaling, 0..1; traced.
    """

    network: Network
    null: Any
    scale: ArrayLike
    rescale: ArrayLike = 0.0

    def __call__(self, x: Array, point: Point) -> Prediction:
        """The guided guess at `x` (`[B, H, W, C]`), in one network call on 2B pictures."""
        network = self.network
        both = jax.tree.map(lambda n, c: jnp.concatenate([n, c]), self.null, network.condition)
        shown, t = network.parameterization.network_input(x, point)
        t = jnp.broadcast_to(t, x.shape[:1])
        out = network.apply(
            network.params, jnp.concatenate([shown, shown]), jnp.concatenate([t, t]), both
        )
        null, asked = jnp.split(out, 2)
        scale = jnp.reshape(self.scale, (-1,) + (1,) * (x.ndim - 1))
        guided = null + scale * (asked - null)
        # Not the spread over the batch: each picture has its own.
        axes = tuple(range(1, x.ndim))
        spread, wanted = (jnp.std(a, axis=axes, keepdims=True) for a in (guided, asked))
        ratio = wanted / jnp.maximum(spread, jnp.finfo(spread.dtype).tiny)
        guided = guided * (self.rescale * ratio + (1 - self.rescale))
        return network.parameterization.read(guided, x, point)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
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


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
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


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
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
