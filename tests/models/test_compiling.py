"""Programs that are compiled in a hurry give the same numbers."""

import jax
import jax.numpy as jnp
import numpy as np

from diffax.models import StepMLP, init, llvm_level


def test_init_gives_the_networks_own_parameters():
    network, key = StepMLP(num_steps=5, features=4), jax.random.key(3)
    x, t = jnp.ones((2, 2)), jnp.ones(2)
    expected = network.init(key, x, t)
    shapes = jax.eval_shape(lambda: (x, t))
    jax.tree.map(np.testing.assert_array_equal, init(network, key, *shapes), expected)


def test_flags_of_the_user_go_first(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "")
    assert llvm_level(1) == {"xla_backend_optimization_level": 1}
    monkeypatch.setenv("XLA_FLAGS", "--xla_backend_optimization_level=2")
    assert llvm_level(1) is None
