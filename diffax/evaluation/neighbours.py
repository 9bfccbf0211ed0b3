"""Distances between two sets of vectors, block by block, and nearest neighbours."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

_BLOCK = 1024


def nearest_neighbours(x: Any, among: Any, count: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """The nearest vectors of a set, for each vector of another.

    Args:
        x: `[N, ...]`; all but the first axis is one vector.
        among: `[M, ...]`, the set that is searched.
        count: how many neighbours, at most M.

    Returns:
        Euclidean distances `[N, count]` float64, ascending, and indices `[N, count]` into `among`.

    Raises:
        ValueError: vectors of two sizes, not finite, or fewer than `count` to search.

    Example:
        >>> distances, indices = nearest_neighbours([[0.9]], [[0.0], [1.0], [3.0]])
        >>> round(float(distances[0, 0]), 6), int(indices[0, 0])
        (0.1, 1)
    """
    x, among = check_features(_flat(x), _flat(among))
    if not 1 <= count <= len(among):
        raise ValueError(f"expected 1 to {len(among)} neighbours, got {count}")
    distances, indices = [], []
    for rows, block in zip(_blocks(x), distance_blocks(x, among), strict=True):
        near = np.argpartition(block, count - 1, axis=1)[:, :count]
        # Of those few the difference itself, so that copies are at distance 0.
        found = np.linalg.norm(rows[:, None] - among[near], axis=2)
        order = np.argsort(found, axis=1)
        distances.append(np.take_along_axis(found, order, axis=1))
        indices.append(np.take_along_axis(near, order, axis=1))
    return np.concatenate(distances), np.concatenate(indices)


def radii(x: np.ndarray, count: int) -> np.ndarray:
    """Distance `[N]` from each vector to its `count`-th nearest other one.

    Raises:
        ValueError: too few vectors.
    """
    if not 1 <= count < len(x):
        raise ValueError(
            f"expected more than {count} examples, to look for {count} neighbours of each, got "
            f"{len(x)}; draw more samples or set fewer neighbours"
        )
    # The nearest of all is the vector itself.
    parts = [np.partition(block, count, axis=1)[:, count] for block in distance_blocks(x, x)]
    return np.concatenate(parts)


def distance_blocks(x: np.ndarray, y: np.ndarray) -> Iterator[np.ndarray]:
    """Euclidean distances `[<= 1024, M]` from some vectors of x after the other to all of y."""
    centre = y.mean(axis=0)  # |a|^2 + |b|^2 - 2 a.b keeps most digits about the origin
    x, y = x - centre, y - centre
    lengths = (y**2).sum(axis=1)
    for rows in _blocks(x):
        squared = (rows**2).sum(axis=1)[:, None] + lengths - 2 * rows @ y.T
        yield np.sqrt(np.maximum(squared, 0))


def check_features(x: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
    """Two sets of vectors `[N, D]` and `[M, D]` as float64.

    Raises:
        ValueError: another shape, two sizes D, none at all, or numbers that are not finite.
    """
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1] or 0 in (*x.shape, *y.shape):
        raise ValueError(
            f"expected two sets [N, D] and [M, D] of the same D, got {list(x.shape)} and "
            f"{list(y.shape)}"
        )
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError("expected finite vectors, got NaN or infinity among them")
    return x, y


def _blocks(x: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(x), _BLOCK):
        yield x[start : start + _BLOCK]


def _flat(x: Any) -> np.ndarray:
    x = np.asarray(x)
    return x.reshape(len(x), -1) if x.ndim > 1 else x
