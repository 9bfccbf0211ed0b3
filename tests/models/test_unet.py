"""The U-Net: the published parameter count, shapes, options, faults."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffax.models import UNet, parameter_count

SMALL = {"channels": 8, "multipliers": (1, 2), "num_res_blocks": 1, "attention_resolutions": (4,)}


def shapes(model, size=(8, 8, 1), labels=False):
    x, t = jnp.zeros((2, *size)), jnp.zeros((2,))
    condition = jnp.zeros((2,), jnp.int32) if labels else None
    return jax.eval_shape(lambda key: model.init(key, x, t, condition), jax.random.key(0))


def perturbed(params, scale=0.1):
    """Parameters as if trained: none near zero."""
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(7), len(leaves))
    return tree.unflatten(
        [p + scale * jax.random.normal(k, p.shape) for p, k in zip(leaves, keys, strict=True)]
    )


def test_ddpm_cifar10_has_the_published_number_of_parameters():
    assert parameter_count(shapes(UNet(dropout=0.1), (32, 32, 3))) == 35_746_307
