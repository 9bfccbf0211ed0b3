"""Decoded examples kept in memory, filled as they are asked for."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from diffax.data.source import Batch
from diffax.data.spec import Column

Read = Callable[[np.ndarray], Batch]


def keep(read: Read, size: int, columns: dict[str, Column], budget_mb: int) -> tuple[Read, int]:
    """Wraps a reader so that every example is decoded once, if all of them fit.

    Threads may ask for the same missing example at once: both decode it, to the same bytes.

    Args:
        read: indices int64 [B] -> batch.
        size: number of examples.
        columns: what `read` gives, by key; no texts.
        budget_mb: MiB that all examples together may take.

    Returns:
        The reader, and the bytes that it may keep: 0, and `read` itself, where they do not fit.
        Memory is taken as it fills, not before.
    """
    needed = size * sum(
        math.prod(column.shape) * np.dtype(column.dtype).itemsize for column in columns.values()
    )
    if needed > budget_mb * 2**20:
        return read, 0
    kept = {key: np.empty((size, *col.shape), col.dtype) for key, col in columns.items()}
    filled = np.zeros(size, bool)

    def cached(indices: np.ndarray) -> Batch:
        missing = np.unique(indices[~filled[indices]])
        if len(missing):
            for key, value in read(missing).items():
                kept[key][missing] = value
            filled[missing] = True  # after the values: another thread may be looking
        return {key: value[indices] for key, value in kept.items()}

    return cached, needed
