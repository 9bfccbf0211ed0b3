"""Training losses: where in time, what target, what weight; and the terms of the variational bound.

`diffusion_loss` is the simple loss (Ho et al. 2020, eq. 14) for any schedule, parameterization,
time sampling and weighting. Weights multiply the squared error of the network's own target.
"""

from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from diffax import gaussian
from diffax.denoiser import Denoiser
from diffax.gaussian import Gaussian
from diffax.parameterization import Parameterization
from diffax.schedules import Discrete, Point, Schedule

TimeSampling = Callable[[Array, Schedule, int], Point]
Weighting = Callable[[Point, Parameterization], Array]


def diffusion_loss(
    apply: Callable[..., Array],
    params: Any,
    x0: Array,
    key: Array,
    *,
    schedule: Schedule,
    parameterization: Parameterization,
    times: TimeSampling,
    weighting: Weighting,
    condition: Any = None,
) -> tuple[Array, dict[str, Array]]:
    """Weighted mean squared error of the network's target on noised data.

    Args:
        apply: `(params, x, t, condition) -> output`.
        params: the network's parameters.
        x0: clean data, `[B, ...]`, in model range.
        key: a random key; times and noise use keys of their own.
        schedule: the noise schedule.
        parameterization: what the network is asked for.
        times: draws a point for every example, such as `uniform`.
        weighting: weight of every example, such as `constant`.
        condition: what the network is told besides, or None.

    Returns:
        The loss, a float32 scalar, and `{"t", "mse", "weighted"}`, each `[B]`.
    """
    time_key, noise_key = jax.random.split(key)
    point = times(time_key, schedule, x0.shape[0])
    eps = jax.random.normal(noise_key, x0.shape, x0.dtype)
    x = gaussian.q_sample(x0, eps, point)
    shown, t = parameterization.network_input(x, point)
    output = apply(params, shown, t, condition)
    chex.assert_equal_shape([output, x0])
    error = output.astype(jnp.float32) - parameterization.target(x0, eps, point)
    mse = _mean_over_example(error**2)
    weighted = mse * weighting(point, parameterization)
    return jnp.mean(weighted), {"t": point.t, "mse": mse, "weighted": weighted}


def _mean_over_example(x: Array) -> Array:
    return jnp.mean(x, axis=tuple(range(1, x.ndim)), dtype=jnp.float32)


# ---------------------------------------------------------------- where in time


def uniform(key: Array, schedule: Schedule, batch: int) -> Point:
    """Independent uniform times: table entries, or `[0, 1]`."""
    if isinstance(schedule, Discrete):
        return schedule.at(jax.random.randint(key, (batch,), 0, schedule.num_steps))
    return schedule.at(_clear_of_clean(jax.random.uniform(key, (batch,))))


def antithetic(key: Array, schedule: Schedule, batch: int) -> Point:
    """Uniform times in pairs `(t, T - 1 - t)`, which lowers the variance of the mean loss.

    An odd batch leaves the last time without its twin.
    """
    half = _uniform_fraction(key, (batch + 1) // 2, schedule)
    mirrored = jnp.concatenate([half, 1 - half])[:batch]
    return _at_fraction(schedule, mirrored)


def stratified(key: Array, schedule: Schedule, batch: int) -> Point:
    """One shared uniform offset, times spread evenly (Kingma et al. 2021, appendix I.1)."""
    offset = jax.random.uniform(key, ())
    fractions = (offset + jnp.arange(batch) / batch) % 1.0
    if isinstance(schedule, Discrete):
        index = jnp.floor(fractions * schedule.num_steps)
        return schedule.at(jnp.minimum(index, schedule.num_steps - 1))
    return schedule.at(_clear_of_clean(fractions))


def log_normal(mean: ArrayLike = -1.2, std: ArrayLike = 1.2) -> TimeSampling:
    """EDM's times: `log(sigma / alpha)` is normal (Karras et al. 2022, table 1)."""

    def draw(key: Array, schedule: Schedule, batch: int) -> Point:
        log_level = mean + std * jax.random.normal(key, (batch,))
        return schedule.at_logsnr(-2 * log_level)

    return draw


def logit_normal(mean: ArrayLike = 0.0, std: ArrayLike = 1.0) -> TimeSampling:
    """Flow matching's times: `logit(t)` is normal (Esser et al. 2024, eq. 19); `t` in (0, 1)."""

    def draw(key: Array, schedule: Schedule, batch: int) -> Point:
        return schedule.at(jax.nn.sigmoid(mean + std * jax.random.normal(key, (batch,))))

    return draw


def _uniform_fraction(key: Array, batch: int, schedule: Schedule) -> Array:
    if isinstance(schedule, Discrete):
        index = jax.random.randint(key, (batch,), 0, schedule.num_steps)
        return index / max(schedule.num_steps - 1, 1)
    return jax.random.uniform(key, (batch,))


def _at_fraction(schedule: Schedule, fraction: Array) -> Point:
    if isinstance(schedule, Discrete):
        return schedule.at(jnp.round(fraction * (schedule.num_steps - 1)))
    return schedule.at(_clear_of_clean(fraction))


def _clear_of_clean(t: Array) -> Array:
    # At the clean end x0-prediction's eps and every SNR weight are undefined.
    return jnp.clip(t, 1e-5, 1.0)


# ---------------------------------------------------------------- with what weight


def constant(point: Point, parameterization: Parameterization) -> Array:
    """Weight one: the simple loss (Ho et al. 2020, eq. 14)."""
    return jnp.ones_like(point.alpha)


def min_snr(gamma: ArrayLike = 5.0) -> Weighting:
    """`min(SNR, gamma)` on the error of x0 (Hang et al. 2023, eq. 8), whatever the target.

    For eps this is `min(SNR, gamma) / SNR`, for v `min(SNR, gamma) / (SNR + 1)`.
    """

    def weight(point: Point, parameterization: Parameterization) -> Array:
        snr = (point.alpha / point.sigma) ** 2
        return _from_x0_weight(jnp.minimum(snr, gamma), point, parameterization)

    return weight


def p2(gamma: ArrayLike = 1.0, k: ArrayLike = 1.0) -> Weighting:
    """`1 / (k + SNR)^gamma` on the error of eps (Choi et al. 2022, eq. 8)."""

    def weight(point: Point, parameterization: Parameterization) -> Array:
        snr = (point.alpha / point.sigma) ** 2
        return _from_x0_weight(snr / (k + snr) ** gamma, point, parameterization)

    return weight


def _from_x0_weight(weight: Array, point: Point, parameterization: Parameterization) -> Array:
    sensitivity = parameterization.sensitivity(point)
    # At pure noise both vanish for eps: no gradient for x0 can come from there.
    return jnp.where(sensitivity > 0, weight / jnp.maximum(sensitivity, 1e-20), 0.0)


# ---------------------------------------------------------------- the variational bound


def prior_kl(x0: Array, schedule: Schedule) -> Array:
    """`KL(q(x_T | x_0) || N(0, I))` in nats an example, `[B]` (Ho et al. 2020, eq. 5, L_T)."""
    q = gaussian.marginal(x0, schedule.start)
    return _sum_over_example(gaussian.kl(q, Gaussian(jnp.zeros_like(x0), jnp.ones(()))))


def bound_term(
    denoiser: Denoiser,
    x0: Array,
    eps: Array,
    schedule: Discrete,
    t: Array,
    *,
    variance: str = "fixed_large",
    clip_x0: bool = True,
    levels: int = 256,
) -> Array:
    """One term of the variational bound (Ho et al. 2020, eq. 5: L_{t-1}, or L_0 at `t = 0`).

    Args:
        denoiser: guesses x0.
        x0: 8-bit data on its grid in `[-1, 1]`, `[B, ...]`.
        eps: standard normal noise, shaped like `x0`.
        schedule: a discrete schedule.
        t: times, `[B]`, whole numbers in `0 .. T-1`.
        variance: the reverse step's: `fixed_small` (beta tilde), `fixed_large` (beta),
            `learned_range` or `learned`, from the prediction.
        clip_x0: clip the guess to `[-1, 1]`, as DDPM does.
        levels: number of values a pixel can take.

    Returns:
        The term in nats an example, `[B]`.
    """
    here, there = schedule.at(t), schedule.at(t - 1)
    x = gaussian.q_sample(x0, eps, here)
    prediction = denoiser(x, here)
    guess = jnp.clip(prediction.x0, -1, 1) if clip_x0 else prediction.x0
    truth = gaussian.posterior(x, x0, here, there)
    is_decoder = (t == 0).reshape((-1,) + (1,) * (x0.ndim - 1))
    # The decoder's own beta tilde is zero; it takes the next step's, as DDPM's code does.
    second = gaussian.posterior(x0, x0, schedule.at(1), schedule.at(0)).variance
    small = jnp.where(is_decoder, second, truth.variance)
    large = gaussian.interval(here, there)[1].reshape(is_decoder.shape)
    if variance == "fixed_large":
        large = jnp.where(is_decoder, second, large)
    model = Gaussian(
        gaussian.posterior(x, guess, here, there).mean,
        gaussian.reverse_variance(small, large, variance, prediction.log_variance),
    )
    nll = -gaussian.discretized_log_likelihood(x0, model, levels=levels)
    divergence = gaussian.kl(Gaussian(truth.mean, small), model)
    return _sum_over_example(jnp.where(is_decoder, nll, divergence))


def _sum_over_example(x: Array) -> Array:
    return jnp.sum(x, axis=tuple(range(1, x.ndim)), dtype=jnp.float32)
