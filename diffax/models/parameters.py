"""What can be said of a tree of parameters without knowing the model."""

import hashlib
import math
from typing import Any

import jax
import numpy as np


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


def fingerprint(tree: Any) -> str:
    """SHA-256, in hexadecimal, over name, type, shape and bytes of every leaf of a tree.

    Args:
        tree: of arrays, numbers or random keys, which this process holds whole.

    Example:
        >>> fingerprint({"a": np.zeros(2, np.float32)})[:8]
        '034b5e1f'
    """
    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
        if jax.dtypes.issubdtype(getattr(leaf, "dtype", np.float32), jax.dtypes.prng_key):
            leaf = jax.random.key_data(leaf)
        array = np.ascontiguousarray(leaf)
        head = f"{jax.tree_util.keystr(path)} {array.dtype} {np.shape(leaf)}".encode()
        # With its length in front, no head can be taken for a piece of another's bytes.
        digest.update(len(head).to_bytes(8, "little") + head)
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
