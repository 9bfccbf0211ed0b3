"""The norm of a whole gradient, and clipping by it."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from diffax.training.norm import clip_by_norm, global_norm


def tree(scale: float = 1.0):
    draws = np.random.default_rng(0)
    shapes = {"bias": (7,), "scale": (3,), "scalar": (), "kernel": (3, 3, 40, 50)}
    return {
        name: scale * jnp.asarray(draws.normal(size=s), jnp.float32) for name, s in shapes.items()
    }


def exact(grads) -> float:
    return float(np.sqrt(sum(np.sum(np.float64(leaf) ** 2) for leaf in jax.tree.leaves(grads))))


def test_norm_keeps_its_digits_over_many_numbers():
    # 300,000 terms, summed one by one in float32, would be known to about 1e-3; in a tree to 1e-6.
    # Equal numbers are the worst case: their roundings do not cancel.
    grads = tree() | {"large": jnp.full((300, 1000), 0.1)}
    np.testing.assert_allclose(jax.jit(global_norm)(grads), exact(grads), rtol=2e-5)


def test_half_precision_is_summed_in_float32():
    grads = {"a": jnp.full((64, 64), 0.1, jnp.bfloat16), "b": jnp.ones(3, jnp.bfloat16)}
    norm = global_norm(grads)
    assert norm.dtype == jnp.float32
    np.testing.assert_allclose(norm, exact(grads), rtol=2e-5)


def test_of_nothing_it_is_zero():
    assert global_norm({}) == 0


@pytest.mark.parametrize("scale", [1e-3, 1.0, 0.0, np.nan, np.inf])
def test_clipping_is_that_of_optax(scale):
    grads = tree(scale)
    ours, theirs = clip_by_norm(0.5), optax.clip_by_global_norm(0.5)
    got, _ = ours.update(grads, ours.init(grads))
    expected, _ = theirs.update(grads, theirs.init(grads))
    for name in grads:
        np.testing.assert_allclose(got[name], expected[name], rtol=1e-6)
