"""Guidance by a classifier of noisy data."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from diffax.denoiser import Denoiser
from diffax.noun import noun, number, structure
from diffax.parameterization import Prediction
from diffax.schedules import Point


@noun
class ClassifierGuidance:
    """`eps - scale sigma grad log p(label | x_t)` (Dhariwal & Nichol 2021, algorithm 2).

    Attributes:
        denoiser: what is wrapped.
        classify: `(params, x, t) -> logits [B, K]` for noisy `x`, `t` `[B]`; static.
        params: the classifier's parameters.
        label: wanted classes, int `[B]`; traced.
        scale: strength; 1 samples `p(x | label)` where the classifier is right; traced.
    """

    denoiser: Denoiser
    classify: Callable[[Any, Array, Array], Array] = structure()
    params: Any
    label: Array
    scale: ArrayLike = number(default=1.0)

    def __call__(self, x: Array, point: Point) -> Prediction:
        """The guess moved up the classifier's gradient."""
        guess = self.denoiser(x, point)
        t = jnp.broadcast_to(point.t, x.shape[:1])

        def log_probability(x: Array) -> Array:
            logits = self.classify(self.params, x, t).astype(jnp.float32)
            chosen = jnp.take_along_axis(jax.nn.log_softmax(logits), self.label[:, None], axis=1)
            return jnp.sum(chosen)

        return shifted(guess, self.scale * jax.grad(log_probability)(x), x, point)


def shifted(guess: Prediction, score: Array, x: Array, point: Point) -> Prediction:
    """The guess with `score` added to the score of x_t: Tweedie's formula in both views.

    At pure noise (`alpha = 0`) x0 stays as it was: nothing there depends on it.
    """
    at = point.broadcast(x)
    pure = at.alpha == 0
    moved = guess.x0 + at.sigma**2 / jnp.where(pure, 1.0, at.alpha) * score
    return Prediction(
        jnp.where(pure, guess.x0, moved), guess.eps - at.sigma * score, guess.log_variance
    )
