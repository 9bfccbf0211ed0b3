"""State that a gradient step assigns."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffax.losses import assignment, running_mean
from diffax.objectives.objective import ASSIGNED
from diffax.training.optimizer import AdamW, Group, Optimizer

TREE = {"w": jnp.ones(3), ASSIGNED: {"n": jnp.float32(7), "m": jnp.arange(4.0)}}
BECOMES = {"n": jnp.float32(8), "m": jnp.full(4, -1e3)}


def loss(tree):
    return jnp.sum(tree["w"] ** 2) + assignment(tree[ASSIGNED], BECOMES)


@pytest.mark.parametrize("optimizer", [
    Optimizer(clip=1e-3, warmup_steps=100, learning_rate=1e-5),
    Optimizer(method=AdamW(), groups=(Group("w", 1e-4),)),
])  # fmt: skip
def test_one_step_makes_it_so_whatever_the_optimizer(optimizer):
    value, slope = jax.value_and_grad(loss)(TREE)
    assert float(value) == 3.0  # the term itself is 0
    transform = optimizer.build(TREE, steps=10, batch_size=4)
    updates, _ = transform.update(slope, transform.init(TREE), TREE)
    new = jax.tree.map(jnp.add, TREE, updates)
    np.testing.assert_array_equal(new[ASSIGNED]["n"], 8)
    np.testing.assert_array_equal(new[ASSIGNED]["m"], BECOMES["m"])
    moved = float(jnp.max(jnp.abs(new["w"] - 1)))
    assert 0 < moved < 1.1e-4  # what is learned was warmed up


def test_parts_of_a_batch_average():
    slopes = [jax.grad(assignment)(jnp.float32(3), jnp.float32(v)) for v in (1.0, 5.0)]
    assert 3 - float(sum(slopes)) / 2 == 3.0


def test_running_mean_begins_as_the_plain_mean():
    average = jnp.float32(0)
    for made, value in enumerate([4.0, 8.0, 6.0]):
        average = running_mean(average, jnp.float32(value), jnp.float32(made), 0.999)
    assert float(average) == pytest.approx(6.0, abs=1e-6)
    assert float(running_mean(jnp.float32(1), jnp.float32(2), jnp.float32(1e6), 0.9)) == (
        pytest.approx(1.1)
    )
