"""Which noise goes with which data."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffax import losses, parameterization, schedules
from diffax.codecs import Identity
from diffax.data import Column, Spec
from diffax.models import VectorMLP
from diffax.objectives import Denoising, Independent, OptimalTransport, Paired

X0 = jax.random.normal(jax.random.key(0), (6, 2, 1))
EPS = jax.random.normal(jax.random.key(1), (6, 2, 1))


def cost(x0, eps):
    return float(jnp.sum((x0 - eps) ** 2))


def test_independent_noise_stays_as_it_is():
    assert Independent()(X0, EPS, {}) is EPS


def test_optimal_transport_is_the_best_of_all_orders():
    """All 720 of them; what comes out is the noise that went in."""
    got = jax.jit(OptimalTransport().__call__)(X0, EPS, {})
    best = min(cost(X0, EPS[np.array(order)]) for order in itertools.permutations(range(6)))
    np.testing.assert_allclose(cost(X0, got), best, rtol=1e-5)
    np.testing.assert_array_equal(np.sort(got.ravel()), np.sort(EPS.ravel()))
    assert cost(X0, got) < cost(X0, EPS)


def test_pairs_are_taken_from_the_data():
    columns = {"x": Column((2,), "float32"), "noise": Column((2,), "float32")}
    spec = Spec(columns, size=4, mean=(0.0, 0.0), std=(1.0, 1.0))
    recipe = Denoising(
        network=VectorMLP(features=8, num_blocks=1),
        schedule=schedules.RectifiedFlow(),
        parameterization=parameterization.Velocity(),
        times=losses.Uniform(),
        coupling=Paired(),
        codec=Identity(),
    )
    objective = recipe.build(spec)
    batch = objective.columns({"x": np.zeros((4, 2)), "noise": np.ones((4, 2))})
    assert sorted(batch) == ["noise", "x"]
    batch = jax.tree.map(jnp.asarray, batch)
    trainable, frozen = jax.jit(objective.init)(jax.random.key(0), batch, {})
    zero = jax.tree.map(jnp.zeros_like, trainable)
    # A network that says 0 is wrong by the velocity, noise - data = 1 everywhere.
    value, _ = jax.jit(objective.loss)(zero, frozen, batch, jax.random.key(0))
    np.testing.assert_allclose(value, 1.0, rtol=1e-6)
    with pytest.raises(ValueError, match="coupling Paired reads noise, the data have x"):
        recipe.build(Spec({"x": Column((2,), "float32")}, size=4, mean=(0.0,) * 2, std=(1.0,) * 2))
