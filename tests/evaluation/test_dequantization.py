"""The bound of images that a learned network spreads over their bins, where the truth is known."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy.stats import norm

from diffax.evaluation.dequantization import Learned, spread_by, spread_evenly

LEVELS = 3  # bins of width 1 at -1, 0 and 1, over which N(0, STD^2) is far from even
STD = 0.5
KEY = jax.random.key(0)


def images(num):
    return jax.random.randint(jax.random.key(1), (num, 2, 2, 1), -1, 2).astype(jnp.float32)


def log_density(denoiser, x, key):
    return norm.logpdf(x, scale=STD).sum(axis=(1, 2, 3))


def bound(spread, x):
    """Bound on the nats of the levels, each image on its own."""
    places, log_q = spread(KEY, x)
    return np.asarray(log_q - log_density(None, places, KEY))


def shifting(shift, log_scale):
    """A network that answers the same for all entries."""
    return lambda x: (jnp.full_like(x, shift), jnp.full_like(x, log_scale))


def test_unshifted_and_unscaled_it_is_the_even_spread():
    x = jnp.zeros((4000, 1, 1, 1))
    spread, log_q = spread_by(shifting(0.0, 0.0), KEY, x, LEVELS)
    np.testing.assert_allclose(log_q, 0, atol=1e-6)
    even, none = spread_evenly(KEY, x, LEVELS)
    assert not none.any()
    np.testing.assert_allclose(spread.std(), even.std(), rtol=0.03)


@pytest.mark.parametrize("shift, log_scale", [(0.7, -0.4), (-1.5, 0.3)])
def test_the_density_of_the_places_is_one_in_sum(shift, log_scale):
    """`E_q[1 / q]` is the size of the bin, and no place lies outside it."""
    x = jnp.zeros((40_000, 1, 1, 1))
    spread, log_q = spread_by(shifting(shift, log_scale), KEY, x, LEVELS)
    assert float(jnp.abs(spread).max()) <= 0.5
    inside = jnp.abs(spread[:, 0, 0, 0]) < 0.4
    assert float(jnp.mean(jnp.exp(-log_q) * inside)) == pytest.approx(0.8, abs=0.03)


@pytest.fixture(scope="module")
def learned():
    return Learned(steps=150, learning_rate=0.03, width=8).fitted(
        log_density, ((None, images(64)) for _ in range(150)), LEVELS
    )


def test_the_learned_bound_lies_between_the_truth_and_the_even_one(learned):
    x = images(2000)
    edges = norm.cdf(jnp.asarray([-1.5, -0.5, 0.5, 1.5]), scale=STD)
    exact = -float(jnp.log(jnp.diff(edges))[x.astype(int) + 1].sum(axis=(1, 2, 3)).mean())
    even = bound(functools.partial(spread_evenly, levels=LEVELS), x).mean()
    tight = bound(learned, x).mean()
    assert exact - 0.01 < tight < exact + 0.2 * (even - exact), (exact, tight, even)


def test_a_bound_that_is_not_finite_is_one_line():
    def nothing(denoiser, x, key):
        return jnp.full(x.shape[0], jnp.nan)

    with pytest.raises(ValueError, match="not finite; set a smaller dequantization.learning_rate"):
        Learned(steps=1).fitted(nothing, [(None, images(2))], LEVELS)
    with pytest.raises(ValueError, match="dequantization steps"):
        Learned(steps=0)
