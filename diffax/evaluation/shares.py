"""Work shared by several processes: each takes a part, all get the whole."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from diffax.generation import Model, Samples, generate


def share(num: int) -> np.ndarray:
    """Rows of `num` that are this process's, as many as any other's; all of them for a single one.

    The last processes take the last row again where `num` cannot be shared evenly.
    """
    size = -(-num // jax.process_count())
    return np.minimum(np.arange(size) + jax.process_index() * size, num - 1)


def gathered(parts: Any, num: int) -> Any:
    """The `num` rows of which each process has its `share`; every process calls it.

    Args:
        parts: a tree of arrays of numbers, one row for each of the share.
        num: how many rows there are in all.

    Returns:
        The tree with NumPy arrays `[num, ...]`, the same in every process.
    """
    if jax.process_count() > 1:
        parts = multihost_utils.process_allgather(parts, tiled=True)
    return jax.tree.map(lambda part: np.asarray(part)[:num], parts)


def samples_over_processes(model: Model, total: int, **request: Any) -> Samples:
    """`total` samples of a model that every process has; each draws its share, all get all.

    Where the parameters are spread over the processes, as while training, all of them draw
    together anyway.

    Args:
        model: the same in every process, which all call this.
        total: how many.
        **request: of `generate`, asking for so many.
    """
    leaves = jax.tree.leaves(model.network.params)
    spread = any(isinstance(leaf, jax.Array) and not leaf.is_fully_addressable for leaf in leaves)
    if jax.process_count() == 1 or spread:
        return generate(model, **request)
    drawn = generate(model, rows=share(total), **request)
    data, x, told = gathered((drawn.data, drawn.x, drawn.told), total)
    return Samples(data, x, told, codec=drawn.codec)
