"""Schedules of discrete data: which share of the tokens is still the data's own.

At a point, a token is its own with probability `alpha` and noise (a mask, or a random token) with
probability `sigma = 1 - alpha`. The bound in continuous time is the same for all of them; they
differ in where a grid's steps are taken.
"""

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from diffax.noun import check_range, noun, number
from diffax.schedules.continuous import Continuous
from diffax.schedules.point import Point, checked_times, root, table_dtype


@noun
class LinearFraction(Continuous):
    """`alpha = 1 - t`: equally many tokens become noise in every stretch of time.

    The log-linear schedule of Lou et al. 2024 and Sahoo et al. 2024.

    Example:
        >>> float(LinearFraction().at(0.25).alpha)
        0.75
    """

    def at(self, t: ArrayLike) -> Point:
        """The point at `t` in `[0, 1]`."""
        t = checked_times(t, 0, 1, table_dtype())
        return Point(t, 1 - t, t)

    def at_logsnr(self, logsnr: ArrayLike) -> Point:
        """The point with a given log-SNR, `2 log(alpha / sigma)`."""
        alpha, sigma = _shares(logsnr)
        return Point(sigma, alpha, sigma)


@noun
class CosineFraction(Continuous):
    """`alpha = 1 - cos(pi (1 - t) / 2)`: fewer tokens at a time near the data (Shi et al. 2024).

    Example:
        >>> round(float(CosineFraction().at(0.5).sigma), 4)
        0.7071
    """

    def at(self, t: ArrayLike) -> Point:
        """The point at `t` in `[0, 1]`."""
        t = checked_times(t, 0, 1, table_dtype())
        sigma = jnp.sin(jnp.pi / 2 * t)
        # 1 - cos(y) = 2 sin(y / 2)^2, without a difference of close numbers where alpha is small.
        small = 2 * jnp.sin(jnp.pi / 4 * (1 - t)) ** 2
        return Point(t, jnp.where(sigma < 0.7, 1 - sigma, small), sigma)

    def at_logsnr(self, logsnr: ArrayLike) -> Point:
        """The point with a given log-SNR, `2 log(alpha / sigma)`."""
        alpha, sigma = _shares(logsnr)
        # Each of the two is exact near one end.
        by_sigma = 2 / jnp.pi * jnp.arcsin(sigma)
        by_alpha = 1 - 4 / jnp.pi * jnp.arcsin(root(alpha / 2))
        return Point(jnp.where(sigma < 0.7, by_sigma, by_alpha), alpha, sigma)


@noun
class GeometricFraction(Continuous):
    """`alpha = exp(-g(t))`, g growing geometrically from `low` to `high` (Shi et al. 2024).

    g is counted from its value at t = 0, so that the clean end is quite clean.

    Attributes:
        low: rate at the clean end, > 0.
        high: of the share `exp(-high)` that is left at `t = 1`, above low.

    Example:
        >>> float(GeometricFraction().at(0.0).alpha)
        1.0
    """

    low: ArrayLike = number(default=1e-5)
    high: ArrayLike = number(default=20.0)

    def __post_init__(self) -> None:
        """Checks plain numbers."""
        check_range("low", self.low, above=0)
        check_range("high", self.high, above=self.low if isinstance(self.low, float) else None)

    def at(self, t: ArrayLike) -> Point:
        """The point at `t` in `[0, 1]`."""
        t = checked_times(t, 0, 1, table_dtype())
        log_alpha = -jnp.expm1(t * jnp.log(self.high / self.low)) * self.low
        return Point(t, jnp.exp(log_alpha), -jnp.expm1(log_alpha))

    def at_logsnr(self, logsnr: ArrayLike) -> Point:
        """The point with a given log-SNR, `2 log(alpha / sigma)`; `t` is clamped to `[0, 1]`."""
        half = 0.5 * jnp.asarray(logsnr, table_dtype())
        t = jnp.log1p(jax.nn.softplus(-half) / self.low) / jnp.log(self.high / self.low)
        alpha, sigma = _shares(logsnr)
        return Point(jnp.clip(t, 0.0, 1.0), alpha, sigma)


def _shares(logsnr: ArrayLike) -> tuple[Array, Array]:
    """alpha and sigma with `alpha + sigma = 1`."""
    half = 0.5 * jnp.asarray(logsnr, table_dtype())
    return jax.nn.sigmoid(half), jax.nn.sigmoid(-half)
