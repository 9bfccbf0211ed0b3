"""Parameters drawn in a hurry are the same."""

import jax
import jax.numpy as jnp
import numpy as np

from diffax.models import StepMLP, init


def test_init_gives_the_networks_own_parameters():
    network, key = StepMLP(num_steps=5, features=4), jax.random.key(3)
    x, t = jnp.ones((2, 2)), jnp.ones(2)
    expected = network.init(key, x, t)
    shapes = jax.eval_shape(lambda: (x, t))
    jax.tree.map(np.testing.assert_array_equal, init(network, key, *shapes), expected)
