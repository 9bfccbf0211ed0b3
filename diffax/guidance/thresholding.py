"""Limits on the guessed x0: static and dynamic thresholding."""

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from diffax.denoiser import Denoiser
from diffax.noun import check_range, noun, number, structure
from diffax.parameterization import Prediction
from diffax.schedules import Point
from diffax.schedules.point import along_batch


def with_x0(prediction: Prediction, x0: Array, x: Array, point: Point) -> Prediction:
    """The prediction with another x0 and the eps that agrees with it at `x`.

    At the clean end, where no noise is left to speak of, eps stays as it was.

    Args:
        prediction: the guess.
        x0: what takes the place of its x0, `[B, ...]`.
        x: the state, `[B, ...]`.
        point: where the state is.
    """
    at = point.broadcast(x)
    clean = at.sigma == 0
    eps = (x - at.alpha * x0) / jnp.where(clean, 1.0, at.sigma)
    return Prediction(x0, jnp.where(clean, prediction.eps, eps), prediction.log_variance)


@noun
class Clip:
    """Static thresholding: x0 clipped to `[-limit, limit]` (Ho et al. 2020).

    Attributes:
        denoiser: what is wrapped.
        limit: largest magnitude of x0, > 0.
        keep_eps: leave eps as the network said it instead of making it agree with the clipped x0
            (what diffusers' DDIM does by default).
    """

    denoiser: Denoiser
    limit: ArrayLike = number(default=1.0)
    keep_eps: bool = structure(default=False)

    def __post_init__(self) -> None:
        """Checks a plain limit."""
        check_range("limit", self.limit, above=0)

    def __call__(self, x: Array, point: Point) -> Prediction:
        """The wrapped guess with x0 clipped."""
        guess = self.denoiser(x, point)
        limit = jnp.asarray(self.limit, guess.x0.dtype)
        return _rebuilt(guess, jnp.clip(guess.x0, -limit, limit), x, point, self.keep_eps)


@noun
class DynamicThreshold:
    """Dynamic thresholding of x0 (Saharia et al. 2022, section 2.3).

    `x0 <- clip(x0, -s, s) / s`, where s is a quantile of `|x0|` over each example, at least 1.

    Attributes:
        denoiser: what is wrapped.
        quantile: the share, in `[0, 1]`, of an example's values that stays inside, such as 0.995.
        max_limit: no example is scaled by more than this; below 1 nothing is scaled.
        keep_eps: as in `Clip`.
    """

    denoiser: Denoiser
    quantile: ArrayLike = number(default=0.995)
    max_limit: ArrayLike = number(default=jnp.inf)
    keep_eps: bool = structure(default=False)

    def __post_init__(self) -> None:
        """Checks a plain quantile."""
        check_range("quantile", self.quantile, least=0, most=1)

    def __call__(self, x: Array, point: Point) -> Prediction:
        """The wrapped guess with x0 clipped at its own quantile and scaled back to [-1, 1]."""
        guess = self.denoiser(x, point)
        flat = jnp.abs(guess.x0).reshape(guess.x0.shape[0], -1)
        limit = jnp.clip(jnp.quantile(flat, self.quantile, axis=1), 1.0, self.max_limit)
        limit = along_batch(limit, x)
        return _rebuilt(guess, jnp.clip(guess.x0, -limit, limit) / limit, x, point, self.keep_eps)


def _rebuilt(guess: Prediction, x0: Array, x: Array, point: Point, keep_eps: bool) -> Prediction:
    if keep_eps:
        return Prediction(x0, guess.eps, guess.log_variance)
    return with_x0(guess, x0, x, point)
