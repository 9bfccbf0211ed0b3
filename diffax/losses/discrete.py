"""The variational bound of discrete data, term by term and exact, in nats an example.

In continuous time it is an integral over t of what a guess at t costs: `masked_bound` for masks, in
its simple form, and `score_entropy` for any process of tokens; the two agree for masks. In discrete
time it is a sum of divergences between the true and the guessed step, `posterior_divergence`.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from diffax.categorical import Absorbing, Categorical, TokenDenoiser, certain
from diffax.losses.times import TimeSampling
from diffax.schedules import Point, Schedule, rate


def masked_bound(guess: Categorical, x0: Array, x: Array, point: Point, moving: Point) -> Array:
    """Cross-entropy of the masked tokens, weighted (Sahoo et al. 2024, eq. 10; Shi et al. 2024).

        -alpha'(t) / (1 - alpha(t))  sum over masked tokens of  -log p(x_0 | x_t)

    Args:
        guess: of the clean tokens.
        x0: clean tokens, int `[B, ...]`.
        x: the same with masks.
        point: where x is, `[B]`.
        moving: how fast the path moves there, see `schedules.rate`.

    Returns:
        Nats an example a unit of time, `[B]` float32.
    """
    nats = -jnp.take_along_axis(guess.log_probs, x0[..., None], axis=-1)[..., 0]
    nats = jnp.where(x == guess.process.size, nats, 0.0)
    return -moving.alpha / point.sigma * _sum_over_example(nats)


def score_entropy(guess: Categorical, x0: Array, x: Array, point: Point, moving: Point) -> Array:
    """The diffusion-weighted denoising score entropy (Lou et al. 2024, eq. 8 and 12).

        beta(t)  sum_y  s_y - r_y log s_y + r_y (log r_y - 1),  beta = -alpha' / alpha

    r are the true ratios `q_t(y | x_0) / q_t(x_t | x_0)`, s the guessed ones, over all tokens y
    that `x_t` can become, times how much rarer each of those jumps is than noise.

    Args and returns as for `masked_bound`, for any process of tokens.
    """
    s = guess.process.jumps(guess.log_probs, x, point)
    r = guess.process.jumps(certain(x0, guess.process).log_probs, x, point)
    # r log(r / s), nothing where r is nothing; what cannot be guessed at all costs 100 nats.
    relative = jnp.log(jnp.where(r > 0, r, 1.0)) - jnp.log(
        jnp.where(r > 0, jnp.maximum(s, 1e-37), 1.0)
    )
    each = s - r + r * relative
    beta = -moving.alpha / jnp.maximum(point.alpha, 1e-12)
    return beta * _sum_over_example(each)


def posterior_divergence(
    guess: Categorical, x0: Array, x: Array, current: Point, next: Point
) -> Array:
    """`KL(q(x_s | x_t, x_0) || p(x_s | x_t))` of one step (Austin et al. 2021, eq. 1).

    Into the clean end it is `-log p(x_0 | x_t)`.

    Args:
        guess: of the clean tokens.
        x0: clean tokens, int `[B, ...]`.
        x: the state at `current`.
        current: scalar or `[B]`.
        next: the cleaner end of the step.

    Returns:
        Nats an example, `[B]` float32.
    """
    process = guess.process
    p = process.posterior(certain(x0, process).log_probs, x, current, next)
    q = process.posterior(guess.log_probs, x, current, next)
    ratio = jnp.log(jnp.where(p > 0, p, 1.0)) - jnp.log(
        jnp.where(p > 0, jnp.maximum(q, 1e-37), 1.0)
    )
    return _sum_over_example(p * ratio)


def token_bound(
    denoiser: TokenDenoiser,
    x0: Array,
    key: Array,
    *,
    schedule: Schedule,
    times: TimeSampling,
    process: Any,
) -> tuple[Array, Array]:
    """One draw of the bound on `-log p(x_0)` in continuous time.

    Args:
        denoiser: guesses `Categorical`.
        x0: clean tokens, int `[B, ...]`.
        key: of times and noise.
        schedule: from t = 0 to 1.
        times: uniform over t, such as `Stratified()`.
        process: how tokens become noise.

    Returns:
        Nats an example, and t, both `[B]`.
    """
    time_key, noise_key = jax.random.split(key)
    point = times(time_key, schedule, x0.shape[0])
    x = process.noised(x0, jax.random.normal(noise_key, x0.shape), point)
    term = masked_bound if isinstance(process, Absorbing) else score_entropy
    nats = term(denoiser(x, point), x0, x, point, rate(schedule, point.t))
    return nats + x0[0].size * process.prior(schedule.start), point.t


def stepwise_bound(
    denoiser: TokenDenoiser, x0: Array, key: Array, *, grid: Point, process: Any
) -> Array:
    """One draw of the bound on `-log p(x_0)` of the ancestral sampler on a grid.

    Every example takes one step of the grid for all of them; the examples' steps are spread evenly.

    Args:
        denoiser: guesses `Categorical`.
        x0: clean tokens, int `[B, ...]`.
        key: of steps and noise.
        grid: points `[S + 1]` from noise to data.
        process: how tokens become noise.

    Returns:
        Nats an example, `[B]`.
    """
    step_key, noise_key = jax.random.split(key)
    batch, steps = x0.shape[0], grid.t.shape[0] - 1
    offset = jax.random.uniform(step_key)
    index = jnp.floor((offset + jnp.arange(batch) / batch) % 1.0 * steps).astype(jnp.int32)
    current, next = grid[index], grid[index + 1]
    x = process.noised(x0, jax.random.normal(noise_key, x0.shape), current)
    nats = posterior_divergence(denoiser(x, current), x0, x, current, next)
    return steps * nats + x0[0].size * process.prior(grid[0])


def _sum_over_example(each: Array) -> Array:
    return jnp.sum(each, axis=tuple(range(1, each.ndim)), dtype=jnp.float32)
