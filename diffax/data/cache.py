"""Decoded examples kept in memory, filled as they are asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from diffax.data.source import Batch

Read = Callable[[np.ndarray], Batch]


@dataclass(frozen=True)
class Layout:
    """Shape and type of one entry of an example."""

    shape: tuple[int, ...]
    dtype: str


def keep(read: Read, size: int, layouts: dict[str, Layout], budget_mb: int) -> tuple[Read, int]:
    """Wraps a reader so that every example is decoded once, if all of them fit.

    Threads may ask for the same missing example at once: both decode it, to the same bytes.

    Args:
        read: indices int64 [B] -> batch.
        size: number of examples.
        layouts: of the entries that `read` gives, by key.
        budget_mb: MiB that all examples together may take.

    Returns:
        The reader, and the bytes that it may keep: 0, and `read` itself, where they do not fit.
        Memory is taken as it fills, not before.
    """
    needed = size * sum(
        int(np.prod(layout.shape)) * np.dtype(layout.dtype).itemsize for layout in layouts.values()
    )
    if needed > budget_mb * 2**20:
        return read, 0
    kept = {key: np.empty((size, *lay.shape), lay.dtype) for key, lay in layouts.items()}
    filled = np.zeros(size, bool)

    def cached(indices: np.ndarray) -> Batch:
        missing = np.unique(indices[~filled[indices]])
        if len(missing):
            for key, value in read(missing).items():
                kept[key][missing] = value
            filled[missing] = True  # after the values: another thread may be looking
        return {key: value[indices] for key, value in kept.items()}

    return cached, needed
