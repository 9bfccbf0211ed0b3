"""What can be said of a tree of parameters without knowing the model."""

import math
from typing import Any

import jax


def parameter_count(params: Any) -> int:
    """Number of scalars in a tree of parameters.

    Args:
      params: any pytree of arrays or of `jax.ShapeDtypeStruct`, so that a large model can be
        counted without memory: `parameter_count(jax.eval_shape(model.init, key, x, t))`.

    Returns:
      The total number of elements.

    Example:
      >>> import jax.numpy as jnp
      >>> parameter_count({"kernel": jnp.zeros((3, 4)), "bias": jnp.zeros(4)})
      16
    """
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params))
