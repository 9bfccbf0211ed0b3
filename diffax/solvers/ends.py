"""The two ends of the path, where alpha or sigma is zero: finite numbers and finite gradients.

`jnp.where` alone does not keep an infinite slope out of a gradient (zero times infinity): what
would be infinite is computed from a harmless number instead.
"""

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from diffax.schedules import Point

# Solvers that divide by alpha see this much signal at pure noise, where there is none.
LEAST_ALPHA = 2.0**-12


def positive_alpha(point: Point) -> Array:
    """alpha, or `LEAST_ALPHA` at pure noise, where it is zero."""
    return jnp.where(point.alpha == 0, LEAST_ALPHA, point.alpha)


def decay(current: Point, next: Point) -> Array:
    """`e^-h = (alpha / alpha') (sigma' / sigma)`; 0 into the clean end or from pure noise.

    The ratio of neighbours is exact to rounding where the difference of two logarithms is not.
    """
    return (current.alpha / next.alpha) * (next.sigma / current.sigma)


def log_snr_step(current: Point, next: Point) -> Array:
    """`h = lambda' - lambda`, `lambda = log(alpha / sigma)`; +inf into clean or from pure noise."""
    shrunk = decay(current, next)
    infinite = shrunk == 0
    return jnp.where(infinite, jnp.inf, -jnp.log(jnp.where(infinite, 1.0, shrunk)))


def lost(current: Point, next: Point, power: ArrayLike = 1.0) -> Array:
    """`1 - e^(-power h)` with `power >= 1`: exact for short steps, smooth where h is infinite."""
    shrunk = decay(current, next)
    infinite = shrunk == 0
    h = -jnp.log(jnp.where(infinite, 1.0, shrunk))
    return jnp.where(infinite, 1.0 - shrunk**power, -jnp.expm1(-(h * power)))
