"""Data whose denoiser is known in closed form, to prove samplers with."""

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from diffax.noun import noun, number
from diffax.parameterization import Prediction
from diffax.schedules import Point


@noun
class GaussianMixture:
    """The exact denoiser of a mixture of isotropic Gaussians.

    Attributes:
        means: `[K, D]`.
        stds: standard deviations, `[K]`; 0 is a point mass.
        weights: shares, `[K]`, summing to 1.

    Example:
        >>> from diffax import schedules
        >>> data = GaussianMixture(jnp.zeros((1, 2)), jnp.ones(1), jnp.ones(1))
        >>> data(jnp.ones((3, 2)), schedules.linear(10).at(9)).x0.shape
        (3, 2)
    """

    means: ArrayLike = number()
    stds: ArrayLike = number()
    weights: ArrayLike = number()

    def __call__(self, x: Array, point: Point) -> Prediction:
        """`E[x_0 | x_t]` and `E[eps | x_t]` for `x` `[B, D]`."""
        # [B or 1, 1] against [K], and [B or 1, 1, 1] against [K, D].
        alpha, sigma = (jnp.reshape(f, (-1, 1, 1)) for f in (point.alpha, point.sigma))
        stds = jnp.asarray(self.stds)[None, :, None]
        variance = alpha**2 * stds**2 + sigma**2
        off = x[:, None, :] - alpha * jnp.asarray(self.means)[None]
        squares = jnp.sum(off**2 / variance + jnp.log(variance), axis=-1)
        share = jax.nn.softmax(jnp.log(jnp.asarray(self.weights))[None] - 0.5 * squares, axis=1)
        x0 = jnp.asarray(self.means)[None] + alpha * stds**2 / variance * off
        eps = sigma / variance * off

        def mean(of: Array) -> Array:
            return jnp.sum(share[:, :, None] * of, axis=1)

        return Prediction(mean(x0), mean(eps))

    def cdf(self, x: Array, point: Point) -> Array:
        """Distribution function of `x_t`, for one-dimensional data; `x` `[B]`.

        The probability-flow ODE keeps it constant along its paths.
        """
        variance = point.alpha**2 * jnp.asarray(self.stds) ** 2 + point.sigma**2
        off = x[:, None] - point.alpha * jnp.reshape(jnp.asarray(self.means), (1, -1))
        parts = jax.scipy.special.ndtr(off / jnp.sqrt(variance)[None])
        return jnp.sum(jnp.asarray(self.weights)[None] * parts, axis=1)
