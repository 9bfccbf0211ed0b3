"""Mean and standard deviation of a whole set, in one pass."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np


def moments(blocks: Iterable[np.ndarray], where: object) -> tuple[tuple[float, ...], ...]:
    """Mean and standard deviation of every entry of the last axis, in one pass of float64.

    Blocks are joined by the formula of Chan, Golub and LeVeque (1979). An entry that never changes
    has the standard deviation 1.

    Args:
        blocks: the examples in order, each block [B, ..., D], none of them empty.
        where: begins the message of an error.

    Returns:
        (mean, std), each with D numbers.

    Raises:
        ValueError: numbers that are not finite, or too large for float32.

    Example:
        >>> moments([np.array([[1.0, 5.0]]), np.array([[3.0, 5.0]])], "mine")
        ((2.0, 5.0), (1.0, 1.0))
    """
    count, mean, square, rows = 0, np.zeros(1), np.zeros(1), 0
    low, high = np.full(1, np.inf), np.full(1, -np.inf)
    largest = np.finfo(np.float32).max
    for given in blocks:
        block = np.asarray(given, np.float64)
        finite = np.abs(block) <= largest  # NaN is not, either
        if not finite.all():
            bad = ~finite.reshape(len(block), -1).all(axis=1)
            raise ValueError(
                f"{where}: expected finite numbers that float32 can hold, row "
                f"{rows + int(np.flatnonzero(bad)[0])} has others"
            )
        rows += len(block)
        block = block.reshape(-1, block.shape[-1])
        low, high = np.minimum(low, block.min(0)), np.maximum(high, block.max(0))
        total = count + len(block)
        shift = block.mean(0) - mean
        square = square + ((block - block.mean(0)) ** 2).sum(0)
        square = square + shift**2 * (count * len(block) / total)
        mean = mean + shift * (len(block) / total)
        count = total
    std = np.sqrt(square / count)
    std = np.where((low == high) | (std < np.finfo(np.float32).tiny), 1.0, std)
    return tuple(mean.tolist()), tuple(std.tolist())
