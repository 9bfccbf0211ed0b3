"""Closed forms of the Gaussian forward process: marginal, single step, posterior, divergences.

Everything is a function of `Point`s, so it holds between any two times of any schedule.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from diffax.schedules import Point


class Gaussian(NamedTuple):
    """Mean and variance of a diagonal Gaussian; the variance broadcasts against the mean."""

    mean: Array
    variance: Array


def q_sample(x0: Array, eps: Array, point: Point) -> Array:
    """Draw from `q(x_t | x_0)` with given noise (Ho et al. 2020, eq. 4).

    Args:
        x0: clean data, `[B, ...]`.
        eps: standard normal noise, shaped like `x0`.
        point: where to, scalar or `[B]`.

    Returns:
        `alpha x_0 + sigma eps`, `[B, ...]`.
    """
    here = point.broadcast(x0)
    return here.alpha * x0 + here.sigma * eps


def marginal(x0: Array, point: Point) -> Gaussian:
    """`q(x_t | x_0)` (Ho et al. 2020, eq. 4); arguments as in `q_sample`."""
    here = point.broadcast(x0)
    return Gaussian(here.alpha * x0, here.sigma**2)


def interval(here: Point, there: Point) -> tuple[Array, Array]:
    """Scale and variance of the step from the cleaner `there` to the noisier `here`.

    `x_here = scale x_there + sqrt(variance) eps` (Kingma et al. 2021, appendix A).

    Args:
        here: the noisier point.
        there: the cleaner point, same shape.

    Returns:
        `(alpha_here / alpha_there, sigma_here^2 - scale^2 sigma_there^2)`.
    """
    return here.alpha / there.alpha, here.sigma**2 * added_noise_share(here, there)


def added_noise_share(here: Point, there: Point) -> Array:
    """Share of `here`'s noise variance that came after `there`: `1 - SNR(here) / SNR(there)`.

    In `[0, 1]`; 1 where `there` is clean or `here` is pure noise. Equal points give exactly 0.
    """
    # The ratio of neighbours is close to one and exact to rounding; a difference of two log-SNRs
    # would lose the digits of their common size.
    ratio = (here.alpha / there.alpha) * (there.sigma / here.sigma)
    return (1 - ratio) * (1 + ratio)


def step(x: Array, here: Point, there: Point) -> Gaussian:
    """`q(x_here | x_there)`, one step towards noise (Ho et al. 2020, eq. 2).

    Args:
        x: `x_there`, `[B, ...]`.
        here: the noisier point, scalar or `[B]`.
        there: the cleaner point, same shape.
    """
    here, there = here.broadcast(x), there.broadcast(x)
    scale, variance = interval(here, there)
    return Gaussian(scale * x, variance)


def posterior(x: Array, x0: Array, here: Point, there: Point) -> Gaussian:
    """`q(x_there | x_here, x_0)`, one step back (Ho et al. 2020, eq. 6-7).

    Args:
        x: `x_here`, `[B, ...]`.
        x0: clean data, shaped like `x`.
        here: the noisier point, scalar or `[B]`.
        there: the cleaner point, same shape.

    Returns:
        Mean `[B, ...]` and variance (scalar or `[B, 1, ...]`), "beta tilde" of the paper.
    """
    here, there = here.broadcast(x), there.broadcast(x)
    share = added_noise_share(here, there)
    keep = (there.sigma / here.sigma) ** 2 * here.alpha / there.alpha
    mean = keep * x + there.alpha * share * x0
    return Gaussian(mean, there.sigma**2 * share)


REVERSE_VARIANCES = ("fixed_small", "fixed_large", "learned", "learned_range")


def reverse_variance(small: Array, large: Array, kind: str, log_variance: Array | None) -> Array:
    """Variance of the reverse step `p(x_there | x_here)`.

    Args:
        small: the posterior's variance, "beta tilde" (Ho et al. 2020, eq. 7).
        large: the forward step's variance, "beta"; see `interval`.
        kind: `fixed_small`, `fixed_large`, `learned` (the network gives the log-variance) or
            `learned_range` (it gives the place in `[-1, 1]` between the logs of the two,
            Nichol & Dhariwal 2021, eq. 15).
        log_variance: the network's say, for the learned kinds.

    Raises:
        ValueError: a learned kind with a network that answers no variance.
    """
    if kind == "fixed_small":
        return small
    if kind == "fixed_large":
        return large
    if log_variance is None:
        raise ValueError(
            f"variance {kind!r} needs a network with twice the data's channels; this one answers "
            "no variance: use fixed_small or fixed_large"
        )
    if kind == "learned":
        return jnp.exp(log_variance)
    share = (log_variance + 1) / 2
    # The last step's beta tilde is zero; its noise is never added.
    floor = jnp.log(jnp.maximum(small, 1e-20))
    return jnp.exp(share * jnp.log(large) + (1 - share) * floor)


def kl(p: Gaussian, q: Gaussian) -> Array:
    """Elementwise `KL(p || q)` in nats between diagonal Gaussians.

    Args:
        p: mean and variance (> 0), any broadcastable shapes.
        q: the same.
    """
    log_ratio = jnp.log(p.variance) - jnp.log(q.variance)
    return 0.5 * (jnp.expm1(log_ratio) - log_ratio + (p.mean - q.mean) ** 2 / q.variance)


def log_prob(x: Array, of: Gaussian) -> Array:
    """Elementwise log-density of `x` in nats under a diagonal Gaussian."""
    return -0.5 * ((x - of.mean) ** 2 / of.variance + jnp.log(of.variance) + jnp.log(2 * jnp.pi))


def discretized_log_likelihood(x: Array, of: Gaussian, *, levels: int = 256) -> Array:
    """Log-probability of 8-bit data under a Gaussian cut into bins (Ho et al. 2020, eq. 13).

    Args:
        x: data on the grid of `levels` values in `[-1, 1]`, `[B, ...]`.
        of: the decoder's mean and variance.
        levels: number of values a pixel can take.

    Returns:
        Elementwise log-probability in nats; the two outer bins reach to infinity.
    """
    half = 1.0 / (levels - 1)
    scale = jax.lax.rsqrt(of.variance)
    upper = (x + half - of.mean) * scale
    lower = (x - half - of.mean) * scale
    # log(Phi(upper) - Phi(lower)) on the side of the bell where both are small.
    mirrored = (upper + lower) > 0
    high = jnp.where(mirrored, -lower, upper)
    low = jnp.where(mirrored, -upper, lower)
    log_high = jax.scipy.special.log_ndtr(high)
    log_low = jax.scipy.special.log_ndtr(low)
    middle = log_high + jnp.log(-jnp.expm1(jnp.minimum(log_low - log_high, -1e-7)))
    below = jax.scipy.special.log_ndtr(upper)
    above = jax.scipy.special.log_ndtr(-lower)
    return jnp.where(x <= -1 + half, below, jnp.where(x >= 1 - half, above, middle))


def bits_per_dimension(nats: ArrayLike, dimensions: int) -> Array:
    """A total in nats as bits per dimension."""
    return jnp.asarray(nats) / (dimensions * jnp.log(2.0))
