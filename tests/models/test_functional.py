"""Networks that are no linen modules: they give what their modules give, and train."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from diffax.data import Spec
from diffax.data.spec import Column
from diffax.models import Functions, NNXNetwork, VectorMLP
from diffax.objectives import Denoising


class Layers(nnx.Module):
    """Layers in a list, whose names are numbers, and dropout."""

    def __init__(self, width, norm, rngs):
        self.layers = nnx.List([nnx.Linear(3, width, rngs=rngs), nnx.Linear(width, 2, rngs=rngs)])
        self.norm = nnx.BatchNorm(width, rngs=rngs) if norm else lambda x: x
        self.dropout = nnx.Dropout(0.5, rngs=rngs)

    def __call__(self, x, t, condition):
        h = self.layers[0](jnp.concatenate([x, t[:, None] / 1000], axis=-1))
        return self.layers[1](self.dropout(self.norm(jax.nn.silu(h))))


@dataclass(frozen=True)
class Net(NNXNetwork):
    width: int = 8
    norm: bool = False

    def make(self, rngs):
        return Layers(self.width, self.norm, rngs)


SPEC = Spec({"x": Column((2,), "float32")}, 100, (), (0.0, 0.0), (1.0, 1.0))
X, T = jnp.ones((5, 2)), jnp.linspace(0, 900, 5)


def test_an_nnx_network_answers_as_its_module():
    network = Net()
    params = network.init(jax.random.key(3))
    module = network.make(nnx.Rngs(jax.random.key(3)))
    module.eval()
    np.testing.assert_array_equal(network.apply(params, X, T, {}), module(X, T, {}))
    changed = jax.tree.map(lambda leaf: 2 * leaf, params)
    assert not np.allclose(network.apply(changed, X, T, {}), module(X, T, {}))
    keys = [{"dropout": jax.random.key(i)} for i in (0, 0, 1)]
    a, b, c = (network.apply(params, X, T, {}, train=True, rngs=k) for k in keys)
    np.testing.assert_array_equal(a, b)
    assert not np.allclose(a, c)
    with pytest.raises(ValueError, match="BatchStat.*GroupNorm"):
        Net(norm=True).init(jax.random.key(0))


def functions():
    linen = VectorMLP(features=8, num_blocks=1)

    def apply(params, x, t, condition, train=False, rngs=None):
        return linen.apply(params, x, t, condition, train=train, rngs=rngs)

    return Functions(linen.init, apply)


@pytest.mark.parametrize("network", [Net(), functions()], ids=["nnx", "functions"])
def test_they_learn(network):
    objective = Denoising(network).build(SPEC)
    batch = {"x": jax.random.normal(jax.random.key(0), (16, 2))}
    trainable, frozen = objective.init(jax.random.key(1), batch, {})
    optimizer = optax.adam(1e-2)
    state = optimizer.init(trainable)

    @jax.jit
    def step(trainable, state, key):
        def loss(trainable):
            return objective.loss(trainable, frozen, batch, key)[0]

        value, gradient = jax.value_and_grad(loss)(trainable)
        updates, state = optimizer.update(gradient, state, trainable)
        return optax.apply_updates(trainable, updates), state, value

    losses = []
    for i in range(60):
        trainable, state, value = step(trainable, state, jax.random.key(i))
        losses.append(float(value))
    assert np.mean(losses[-20:]) < 0.9 * np.mean(losses[:10])
