"""Likelihoods by the probability flow, against Gaussian data, whose density is known."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffax import schedules
from diffax.mixture import GaussianMixture
from diffax.parameterization import Prediction
from diffax.sampling import dequantized, flow_log_likelihood

STD, DIM = 0.25, 3
X0 = STD * jax.random.normal(jax.random.key(0), (64, DIM))
GAUSSIAN = GaussianMixture(jnp.zeros((1, DIM)), jnp.asarray([STD]), jnp.ones(1))
LIKELIHOOD = jax.jit(
    flow_log_likelihood, static_argnames=("probes", "method", "steps", "max_steps")
)
BIT = np.log(2)


def exact(x0):
    return jax.scipy.stats.norm.logpdf(x0, scale=STD).sum(axis=1)


@pytest.mark.parametrize(
    "schedule",
    [
        schedules.linear(1000),
        pytest.param(schedules.EDM().build(), marks=pytest.mark.slow),
        schedules.RectifiedFlow().build(),
    ],
    ids=["table", "edm", "flow"],
)
def test_gaussian_data_within_a_hundredth_of_a_bit(schedule):
    """On average; a sample 3 sigma out feels the noise that is left at the clean end."""
    found = LIKELIHOOD(GAUSSIAN, X0, jax.random.key(1), schedule, steps=20)
    off = (found - exact(X0)) / (DIM * BIT)
    assert abs(float(off.mean())) < 2e-3 and float(jnp.abs(off).max()) < 0.01


@pytest.mark.slow
def test_a_mixture_and_any_mean_in_one_dimension():
    """No scale and no centre is special: three bumps, weighed and spread differently."""
    means, stds = jnp.asarray([[-0.7], [0.1], [0.9]]), jnp.asarray([0.1, 0.3, 0.05])
    weights = jnp.asarray([0.5, 0.3, 0.2])
    data = GaussianMixture(means, stds, weights)
    x0 = jnp.linspace(-0.9, 1.0, 39)[:, None]
    density = jax.scipy.stats.norm.pdf(x0, means.T, stds[None]) @ weights
    found = LIKELIHOOD(data, x0, jax.random.key(0), VP, steps=50)
    np.testing.assert_allclose(found, jnp.log(density), atol=0.01)


VP = schedules.VP().build()


@pytest.mark.parametrize(
    "method, steps, order",
    [("rk4", 6, 4), pytest.param("heun", 20, 2, marks=pytest.mark.slow)],
)
def test_methods_have_their_orders(method, steps, order):
    errors = []
    for count in (steps, 2 * steps):
        found = LIKELIHOOD(GAUSSIAN, X0, jax.random.key(1), VP, method=method, steps=count)
        errors.append(float(jnp.abs(found - exact(X0)).mean()))
    assert errors[0] / errors[1] == pytest.approx(2**order, rel=0.5)


@pytest.mark.slow
def test_adaptive_steps_agree():
    pytest.importorskip("diffrax", reason="diffrax is not installed")
    found = LIKELIHOOD(GAUSSIAN, X0, jax.random.key(1), VP, method="adaptive")
    np.testing.assert_allclose(found, exact(X0), atol=2e-3)
    lost = LIKELIHOOD(GAUSSIAN, X0, jax.random.key(1), VP, method="adaptive", max_steps=2)
    assert np.isnan(lost).all()


def mixing(x, point):
    """Any smooth guess whose Jacobian is far from diagonal."""
    at = point.broadcast(x)
    turned = jnp.tanh(x @ jnp.asarray([[0.2, 0.9, -0.5], [-0.7, 0.1, 0.6], [0.4, -0.8, 0.3]]))
    return Prediction(turned, (x - at.alpha * turned) / at.sigma)


def test_hutchinson_is_unbiased():
    """Probes follow the flow without moving it, so that the mean over them is the exact trace."""
    like = jax.jit(
        functools.partial(flow_log_likelihood, mixing, steps=8), static_argnames="probes"
    )
    one = jnp.asarray([[0.3, -0.2, 0.5]])
    found = like(jnp.repeat(one, 4096, axis=0), jax.random.key(0), VP, probes=1)
    wanted = float(like(one, jax.random.key(0), VP)[0])
    error = float(found.std()) / 64
    assert error > 1e-4 and abs(float(found.mean()) - wanted) < 3 * error
    several = like(jnp.repeat(one, 1024, axis=0), jax.random.key(1), VP, probes=4)
    assert float(several.std()) == pytest.approx(float(found.std()) / 2, rel=0.15)


def test_dequantized_data_fill_their_bins():
    x0 = jnp.repeat(jnp.asarray([[-1.0, 0.0, 1.0]]), 2000, axis=0)
    spread = dequantized(jax.random.key(0), x0, levels=3) - x0
    assert float(spread.min()) >= -0.5 and float(spread.max()) <= 0.5
    np.testing.assert_allclose(spread.mean(axis=0), 0, atol=0.03)
    np.testing.assert_allclose(spread.std(axis=0), 12**-0.5, atol=0.02)


@pytest.mark.parametrize(
    "options, words",
    [
        ({"method": "euler"}, "method should be one of heun, rk4, adaptive, got 'euler'"),
        ({"steps": 0}, "steps and probes must be >= 1, got 0 and None"),
        ({"probes": 0}, "steps and probes must be >= 1, got 50 and 0"),
    ],
)
def test_what_cannot_be_meant(options, words):
    with pytest.raises(ValueError, match=words):
        flow_log_likelihood(GAUSSIAN, X0, jax.random.key(0), schedules.linear(10), **options)
