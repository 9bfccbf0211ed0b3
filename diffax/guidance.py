"""Denoiser -> Denoiser: clipping, dynamic thresholding, classifier-free guidance."""

from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from diffax.denoiser import Denoiser, Network
from diffax.parameterization import Prediction
from diffax.schedules import Point


def with_x0(prediction: Prediction, x0: Array, x: Array, point: Point) -> Prediction:
    """The prediction with another x0 and the eps that agrees with it at `x`.

    At the clean end, where no noise is left to speak of, eps stays as it was.
    """
    at = point.broadcast(x)
    clean = at.sigma == 0
    eps = (x - at.alpha * x0) / jnp.where(clean, 1.0, at.sigma)
    return Prediction(x0, jnp.where(clean, prediction.eps, eps), prediction.log_variance)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Clip:
    """Static thresholding: x0 clipped to `[-limit, limit]` (Ho et al. 2020).

    Attributes:
        denoiser: what is wrapped.
        limit: largest magnitude of x0.
        keep_eps: leave eps as the network said it instead of making it agree with the clipped x0
            (what diffusers' DDIM does by default).
    """

    denoiser: Denoiser
    limit: ArrayLike = 1.0
    keep_eps: bool = field(default=False, metadata={"static": True})

    def __call__(self, x: Array, point: Point) -> Prediction:
        """The wrapped guess with x0 clipped."""
        guess = self.denoiser(x, point)
        return _rebuilt(guess, jnp.clip(guess.x0, -self.limit, self.limit), x, point, self.keep_eps)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class DynamicThreshold:
    """Dynamic thresholding of x0 (Saharia et al. 2022, section 2.3).

    Attributes:
        denoiser: what is wrapped.
        quantile: the share of an example's values that stays inside, such as 0.995.
        max_limit: no example is scaled by more than this; below 1 nothing is scaled.
        keep_eps: as in `Clip`.
    """

    denoiser: Denoiser
    quantile: ArrayLike = 0.995
    max_limit: ArrayLike = jnp.inf
    keep_eps: bool = field(default=False, metadata={"static": True})

    def __call__(self, x: Array, point: Point) -> Prediction:
        """The wrapped guess with x0 clipped at its own quantile and scaled back to [-1, 1]."""
        guess = self.denoiser(x, point)
        flat = jnp.abs(guess.x0).reshape(guess.x0.shape[0], -1)
        limit = jnp.clip(jnp.quantile(flat, self.quantile, axis=1), 1.0, self.max_limit)
        limit = limit.reshape((-1,) + (1,) * (x.ndim - 1))
        return _rebuilt(guess, jnp.clip(guess.x0, -limit, limit) / limit, x, point, self.keep_eps)


def _rebuilt(guess: Prediction, x0: Array, x: Array, point: Point, keep_eps: bool) -> Prediction:
    if keep_eps:
        return Prediction(x0, guess.eps, guess.log_variance)
    return with_x0(guess, x0, x, point)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class ClassifierFree:
    """Classifier-free guidance (Ho & Salimans 2022, eq. 6): `eps_u + scale (eps_c - eps_u)`.

    Scale 1 is the conditional guess, 0 the unconditional one. One batched network call.

    Attributes:
        network: the conditional network.
        null: the condition that means "none" (or the negative prompt), shaped like
            `network.condition`.
        scale: guidance scale, scalar or `[B]`; traced, so changing it never recompiles.
    """

    network: Network
    null: Any
    scale: ArrayLike = 3.0

    def __call__(self, x: Array, point: Point) -> Prediction:
        """The guided guess."""
        both = jax.tree.map(
            lambda c, n: jnp.concatenate([jnp.asarray(c), jnp.broadcast_to(n, jnp.shape(c))]),
            self.network.condition,
            self.null,
        )
        network = Network(
            self.network.apply, self.network.params, both, self.network.parameterization
        )
        twice = point if jnp.ndim(point.t) == 0 else jax.tree.map(lambda f: jnp.tile(f, 2), point)
        guess = network(jnp.concatenate([x, x]), twice)
        conditional, unconditional = (
            jax.tree.map(lambda f: f[: x.shape[0]], guess),
            jax.tree.map(lambda f: f[x.shape[0] :], guess),
        )
        scale = jnp.asarray(self.scale, x.dtype)
        if scale.ndim:
            scale = scale.reshape((-1,) + (1,) * (x.ndim - 1))

        def mix(c: Array, u: Array) -> Array:
            # Written so that equal branches give back exactly that branch at every scale.
            return c + (scale - 1) * (c - u)

        return Prediction(
            mix(conditional.x0, unconditional.x0),
            mix(conditional.eps, unconditional.eps),
            conditional.log_variance,
        )
