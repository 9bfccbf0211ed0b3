"""Closed forms of the Gaussian forward process: marginal, single step, posterior, divergences.

Everything is a function of `Point`s, so it holds between any two times of any schedule.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from diffax.noun import noun
from diffax.schedules import Point


class Gaussian(NamedTuple):
    """Mean and variance of a diagonal Gaussian; the variance broadcasts against the mean."""

    mean: Array
    variance: Array


def q_sample(x0: Array, eps: Array, t: Point) -> Array:
    """`x_t = alpha_t x_0 + sigma_t eps`, a draw from `q(x_t | x_0)` (Ho et al. 2020, eq. 4).

    Args:
        x0: clean data, `[B, ...]`.
        eps: standard normal noise, shaped like `x0`.
        t: where to, scalar or `[B]`.

    Returns:
        `x_t`, `[B, ...]`.
    """
    t = t.broadcast(x0)
    return t.alpha * x0 + t.sigma * eps


@noun
class GaussianProcess:
    """Data become noise as `q_sample` says; what runs know of it, see `categorical.Process`."""

    def begin(self, noise: Array, scale: ArrayLike) -> Array:
        """Noise of the first point's size."""
        return jnp.asarray(scale) * noise

    def noised(self, x0: Array, noise: Array, point: Point) -> Array:
        """`x_t`, see `q_sample`."""
        return q_sample(x0, noise, point)

    def with_known(self, x: Array, known: Array, mask: Array) -> Array:
        """`x`: a run from pure noise starts as noise everywhere."""
        return x

    def kept(self, known: Array, noise: Array, point: Point) -> Array:
        """What is known, as noisy as the rest."""
        return q_sample(known, noise, point)


def marginal(x0: Array, t: Point) -> Gaussian:
    """`q(x_t | x_0) = N(alpha_t x_0, sigma_t^2 I)` (Ho et al. 2020, eq. 4).

    Args:
        x0: clean data, `[B, ...]`.
        t: where to, scalar or `[B]`.
    """
    t = t.broadcast(x0)
    return Gaussian(t.alpha * x0, t.sigma**2)


def interval(t: Point, s: Point) -> tuple[Array, Array]:
    """Scale and variance of `q(x_t | x_s)`, from the cleaner `s` to the noisier `t`.

    `x_t = alpha_{t|s} x_s + sigma_{t|s} eps` with `alpha_{t|s} = alpha_t / alpha_s` and
    `sigma_{t|s}^2 = sigma_t^2 - alpha_{t|s}^2 sigma_s^2` (Kingma et al. 2021, appendix A).

    Args:
        t: the noisier point.
        s: the cleaner point, same shape.

    Returns:
        `(alpha_{t|s}, sigma_{t|s}^2)`, shaped like the points.
    """
    return t.alpha / s.alpha, t.sigma**2 * added_noise_share(t, s)


def added_noise_share(t: Point, s: Point) -> Array:
    """Share of the noise variance at `t` that came after `s`: `1 - SNR_t / SNR_s`.

    In `[0, 1]`; 1 where `s` is clean or `t` is pure noise. Equal points give exactly 0.
    """
    # The ratio of neighbours is close to one and exact to rounding; a difference of two log-SNRs
    # would lose the digits of their common size.
    ratio = (t.alpha / s.alpha) * (s.sigma / t.sigma)
    return (1 - ratio) * (1 + ratio)


def step(x_s: Array, t: Point, s: Point) -> Gaussian:
    """`q(x_t | x_s) = N(alpha_{t|s} x_s, sigma_{t|s}^2 I)`, one step towards noise.

    Between neighbours of a table this is `N(sqrt(1 - beta_t) x_{t-1}, beta_t I)` (Ho et al. 2020,
    eq. 2); between any two times see `interval`.

    Args:
        x_s: the cleaner state, `[B, ...]`.
        t: the noisier point, scalar or `[B]`.
        s: the cleaner point, same shape.
    """
    t, s = t.broadcast(x_s), s.broadcast(x_s)
    scale, variance = interval(t, s)
    return Gaussian(scale * x_s, variance)


def posterior(x_t: Array, x0: Array, t: Point, s: Point) -> Gaussian:
    """`q(x_s | x_t, x_0)`, one step back towards data (Ho et al. 2020, eq. 6-7).

    The paper's, for `s = t - 1`, with `abar = alpha^2`:

        mean = sqrt(abar_s) beta_t / (1 - abar_t) x_0
             + sqrt(1 - beta_t) (1 - abar_s) / (1 - abar_t) x_t,
        variance = (1 - abar_s) / (1 - abar_t) beta_t.

    The same between any two times of any schedule:

        mean = alpha_s (1 - SNR_t / SNR_s) x_0 + (sigma_s / sigma_t)^2 (alpha_t / alpha_s) x_t,
        variance = sigma_s^2 (1 - SNR_t / SNR_s).

    Args:
        x_t: the noisier state, `[B, ...]`.
        x0: clean data, shaped like `x_t`.
        t: the noisier point, scalar or `[B]`.
        s: the cleaner point, same shape.

    Returns:
        Mean `[B, ...]` and variance (scalar or `[B, 1, ...]`), "beta tilde" of the paper.
    """
    t, s = t.broadcast(x_t), s.broadcast(x_t)
    share = added_noise_share(t, s)
    keep = (s.sigma / t.sigma) ** 2 * t.alpha / s.alpha
    return Gaussian(keep * x_t + s.alpha * share * x0, s.sigma**2 * share)


REVERSE_VARIANCES = ("fixed_small", "fixed_large", "learned", "learned_range")


def reverse_variance(small: Array, large: Array, kind: str, log_variance: Array | None) -> Array:
    """Variance of the reverse step `p(x_s | x_t)`.

    `learned_range` is `exp(v log beta_t + (1 - v) log beta_tilde_t)` (Nichol & Dhariwal 2021,
    eq. 15), where the network's answer in `[-1, 1]` is `2 v - 1`.

    Args:
        small: the posterior's variance, "beta tilde" (Ho et al. 2020, eq. 7).
        large: the forward step's variance, "beta"; see `interval`.
        kind: `fixed_small`, `fixed_large`, `learned` (the network gives the log-variance) or
            `learned_range` (it gives the place between the logs of the two).
        log_variance: the network's answer, for the learned kinds.

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

    `1/2 (v_p / v_q - 1 - log(v_p / v_q) + (mean_p - mean_q)^2 / v_q)`.

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

    `log(Phi((x + 1/255 - mean) / std) - Phi((x - 1/255 - mean) / std))` for 256 levels.

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


def sum_over_example(x: Array) -> Array:
    """Sum over all axes but the first, `[B]`, in float32."""
    return jnp.sum(x, axis=tuple(range(1, x.ndim)), dtype=jnp.float32)


def bits_per_dimension(nats: ArrayLike, dimensions: int) -> Array:
    """A total in nats as bits per dimension."""
    return jnp.asarray(nats) / (dimensions * jnp.log(2.0))
