"""The bounds of discrete data against the entropy of a source that is known."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from discrete_source import ENTROPY, LENGTH, PROBS, SIZE, TEXTS, Exact, likelihood, states

from diffax import losses, sampling, schedules
from diffax.categorical import Absorbing, Categorical, UniformTokens
from diffax.losses import masked_bound, posterior_divergence, score_entropy

ABSORBING, UNIFORM = Absorbing(SIZE), UniformTokens(SIZE)
LINEAR = schedules.LinearFraction()


def expected(process, term, point):
    """E over x_0 and x_t of a term `(guess, x0, x) -> [B]`, by enumeration of both."""
    x = jnp.asarray(states(process))
    weight = likelihood(process, x, point) * PROBS[None]  # [S, K]
    pairs = jnp.repeat(x, len(TEXTS), axis=0), jnp.tile(jnp.asarray(TEXTS), (len(x), 1))
    nats = term(*pairs)
    return jnp.sum(weight * nats.reshape(weight.shape))


@partial(jax.jit, static_argnames="process")
def cost_of_a_time(process, point, moving, probs=PROBS):
    exact = Exact(process, probs)
    return expected(
        process, lambda x, x0: score_entropy(exact(x, point), x0, x, point, moving), point
    )


@partial(jax.jit, static_argnames="process")
def cost_of_a_step(process, now, next):
    exact = Exact(process)
    return expected(
        process, lambda x, x0: posterior_divergence(exact(x, now), x0, x, now, next), now
    )


@pytest.mark.parametrize("process, nodes, tolerance", [(ABSORBING, 6, 2e-5), (UNIFORM, 24, 5e-3)])
def test_the_bound_in_continuous_time_is_the_entropy(process, nodes, tolerance):
    """Gauss-Legendre over time of the exact expectation; uniform noise has a log at t = 0."""
    places, weights = np.polynomial.legendre.leggauss(nodes)
    total = 0.0
    for place, weight in zip((places + 1) / 2, weights / 2, strict=True):
        t = jnp.full(1, place)
        total += weight * cost_of_a_time(process, LINEAR.at(t), schedules.rate(LINEAR, t))
    np.testing.assert_allclose(total, ENTROPY, rtol=tolerance)


def test_score_entropy_is_the_masked_bound_for_masks():
    """Term by term, for any guess and on any schedule."""
    key = jax.random.key(0)
    x = jnp.asarray(states(ABSORBING))[::7]
    x0 = jnp.where(x == SIZE, jax.random.randint(key, x.shape, 0, SIZE), x)
    logits = jax.random.normal(key, (*x.shape, SIZE))
    kinds = schedules.LinearFraction, schedules.CosineFraction, schedules.GeometricFraction
    for schedule in (kind() for kind in kinds):
        t = jax.random.uniform(key, x.shape[:1], minval=0.1, maxval=0.95)
        point, moving = schedule.at(t), schedules.rate(schedule, t)
        guess = Categorical(ABSORBING.read(logits, x, point), ABSORBING)
        one = masked_bound(guess, x0, x, point, moving)
        two = score_entropy(guess, x0, x, point, moving)
        np.testing.assert_allclose(one, two, rtol=2e-4, atol=1e-6)


@pytest.mark.parametrize("process", [ABSORBING, UNIFORM])
def test_the_bound_of_steps_approaches_the_entropy_from_above(process):
    above = []
    for steps in (2, 4, 8):
        grid = sampling.time_grid(LINEAR, steps)
        costs = [
            cost_of_a_step(process, grid[i : i + 1], grid[i + 1 : i + 2]) for i in range(steps)
        ]
        above.append(float(sum(costs)) - ENTROPY)
    assert above[0] > above[1] > above[2] > 0
    assert above[2] < 0.65 * above[1]  # first order in the length of the steps


@pytest.mark.slow
@pytest.mark.parametrize("process", [ABSORBING, UNIFORM])
def test_draws_of_the_bounds_have_the_right_mean(process):
    key = jax.random.key(3)
    x0 = jnp.asarray(TEXTS)[
        jax.random.choice(key, len(TEXTS), (8192,), p=jnp.asarray(PROBS, jnp.float32))
    ]
    exact = Exact(process)
    nats, t = jax.jit(lambda key: losses.token_bound(
        exact, x0, key, schedule=LINEAR, times=losses.Stratified(), process=process
    ))(key)  # fmt: skip
    error = 5 * float(jnp.std(nats)) / np.sqrt(len(x0))
    assert t.shape == nats.shape and abs(float(nats.mean()) - ENTROPY) < error < 0.5
    grid = sampling.time_grid(LINEAR, 64)
    steps = jax.jit(lambda key: losses.stepwise_bound(exact, x0, key, grid=grid, process=process))(
        key
    )
    error = 5 * float(jnp.std(steps)) / np.sqrt(len(x0))
    assert abs(float(steps.mean()) - ENTROPY) < error + 0.05  # and the 64 steps' own


def test_a_wrong_guess_costs_more():
    t = jnp.full(1, 0.5)
    at = LINEAR.at(t), schedules.rate(LINEAR, t)
    for process in (ABSORBING, UNIFORM):
        wrong = cost_of_a_time(process, *at, np.roll(PROBS, 1))
        assert wrong > cost_of_a_time(process, *at) + 0.05
    assert LENGTH * np.log(SIZE) > ENTROPY
