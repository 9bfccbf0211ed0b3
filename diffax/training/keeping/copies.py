"""A state's arrays as they are saved: in memory of their own, whole where one process saves."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils

from diffax.training.distributed import is_first


def settled(tree: Any) -> Any:
    """Arrays that nobody else writes to or frees: on CPU, host and device share their memory."""
    if jax.default_backend() != "cpu":
        return tree
    return jax.tree.map(_copied, tree)


def gathered(tree: Any) -> Any:
    """Whole arrays in process 0's memory, out of the parts that all processes hold.

    Args:
        tree: of arrays; every process calls this with its own parts.

    Returns:
        Tree of NumPy arrays in process 0, of None elsewhere.
    """
    return jax.tree.map(_whole, tree)


def _copied(x: jax.Array) -> jax.Array:
    if x.is_fully_addressable:
        return jax.device_put(x, x.sharding, may_alias=False)  # compiles nothing
    return jnp.copy(x)


def _whole(x: jax.Array) -> np.ndarray | None:
    if not x.is_fully_replicated:
        whole = multihost_utils.process_allgather(x, tiled=True)
        return whole if is_first() else None
    return np.asarray(x.addressable_data(0)) if is_first() else None
