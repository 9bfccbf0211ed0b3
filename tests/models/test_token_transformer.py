"""The transformer over tokens: who sees whom, places, labels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffax.models import TokenTransformer
from diffax.models.blocks.embeddings import rotated

SMALL = {"vocabulary": 5, "features": 8, "depth": 1, "num_heads": 2}
X = jnp.array([[0, 1, 2, 3, 4, 5]])


def drawn(network, *inputs):
    """Parameters that are nowhere zero."""
    params = network.init(jax.random.key(0), *inputs)
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    return tree.unflatten(
        [0.4 * jax.random.normal(k, leaf.shape) for k, leaf in zip(keys, leaves, strict=True)]
    )


def reaches(network):
    """For every place, the places whose answer changes with the token that stands there."""
    params = drawn(network, X, jnp.zeros(1))
    answer = jax.jit(lambda x: network.apply(params, x, jnp.zeros(len(x))))
    changed = jnp.tile(X, (6, 1)).at[jnp.arange(6), jnp.arange(6)].set((X[0] + 1) % 6)
    out = np.asarray(answer(jnp.concatenate([X, changed])))
    assert out.shape == (7, 6, 5) and out.dtype == np.float32
    return np.abs(out[1:] - out[0]).max(-1) > 1e-6


@pytest.mark.parametrize("neighbours", [pytest.param(0, marks=pytest.mark.slow), 2])
def test_who_sees_whom(neighbours):
    assert reaches(TokenTransformer(**SMALL, neighbours=neighbours)).all()
    causal = reaches(TokenTransformer(**SMALL, neighbours=neighbours, causal=True))
    np.testing.assert_array_equal(causal, np.triu(np.ones((6, 6), bool)))


def test_an_image_is_a_row_of_tokens():
    network = TokenTransformer(**SMALL, learned_places=True, num_classes=3)
    x = X.reshape(1, 2, 3, 1)
    params = drawn(network, x, jnp.zeros(1))
    answer = jax.jit(network.apply)
    out = answer(params, x, jnp.zeros(1), {"label": jnp.array([1])})
    assert out.shape == (1, 2, 3, 1, 5)
    other = answer(params, x, jnp.zeros(1), {"label": jnp.array([2])})
    assert float(jnp.abs(out - other).max()) > 1e-3
    null = answer(params, x, jnp.zeros(1), {"label": jnp.array([3])})
    np.testing.assert_allclose(null, network.apply(params, x, jnp.zeros(1)), rtol=1e-4, atol=1e-4)


def test_time_is_told_where_it_is_asked_for():
    for timed in (False, True):
        network = TokenTransformer(**SMALL, timed=timed)
        params = drawn(network, X, jnp.zeros(1))
        one, two = (network.apply(params, X, jnp.full(1, t)) for t in (0.2, 0.9))
        assert (float(jnp.abs(one - two).max()) > 1e-3) == timed


def test_turned_products_depend_on_the_distance_alone():
    q, k = jax.random.normal(jax.random.key(0), (2, 4))
    row = lambda v: rotated(jnp.tile(v, (1, 9, 1, 1)))[0, :, 0]
    products = np.asarray(row(q) @ row(k).T)
    for offset in range(-4, 5):
        same = np.diagonal(products, offset)
        np.testing.assert_allclose(same, same[0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(products[0, 0], q @ k, rtol=1e-5)
    assert np.ptp(products) > 0.1


def test_bad_fields_and_inputs_are_refused():
    with pytest.raises(ValueError, match="expected an even multiple of num_heads 4, got 12"):
        TokenTransformer(features=12, num_heads=4)
    network = TokenTransformer(features=8, num_heads=2)
    with pytest.raises(ValueError, match="expected tokens and a vocabulary"):
        network.init(jax.random.key(0), X, jnp.zeros(1))
    with pytest.raises(ValueError, match="expected tokens and a vocabulary, got float32"):
        network.clone(vocabulary=3).init(jax.random.key(0), jnp.zeros((1, 4)), jnp.zeros(1))
