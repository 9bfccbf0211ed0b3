"""Random access to randomness: everything chance decides, as a pure function of its place.

The examples of a run form one endless stream: position p = step * batch_size + row. Epoch e is
the positions e * n to (e + 1) * n - 1, in an order that depends on (seed, e) only; what chance does
to the example at position p depends on (seed, p) only. So nothing has to be remembered to continue
anywhere, and neither workers nor processes can change what is seen.

Only the raw words of the counter-based Philox generator are used: NumPy promises that these never
change between its versions, which it does not promise for `Generator.permutation`.
"""

from __future__ import annotations

import functools

import numpy as np

_ORDER, _CHANCE, _FRESH = 1, 2, 3  # one key per purpose: the streams never meet
WORDS = 4  # 64-bit words that one Philox counter value yields


def _philox(seed: int, purpose: int, *counter: int) -> np.random.Philox:
    if not 0 <= seed < 2**64:
        raise ValueError(f"expected a data seed from 0 to 2**64 - 1, got {seed}")
    words = [seed, purpose]
    place = list(counter) + [0] * (4 - len(counter))
    return np.random.Philox(
        key=np.array(words, dtype=np.uint64), counter=np.array(place, dtype=np.uint64)
    )


@functools.lru_cache(maxsize=4)
def permutation(seed: int, epoch: int, size: int) -> np.ndarray:
    """The order in which an epoch visits its examples.

    Args:
        seed: of the data order, >= 0.
        epoch: 0, 1, 2, ...
        size: number of examples n.

    Returns:
        int64 [n], every number below n once; read-only, kept for the latest epochs.
    """
    bits = _philox(seed, _ORDER, 0, epoch).random_raw(size)
    order = np.argsort(bits, kind="stable")
    order.setflags(write=False)
    return order


def indices(seed: int, positions: np.ndarray, size: int, group: int = 1) -> np.ndarray:
    """Which example stands at each position of the endless stream.

    Args:
        seed: of the data order.
        positions: int64 [B], ascending or not.
        size: number of examples in the set.
        group: so many examples that follow each other in the set do so in the stream, too; `size`
            is a multiple of it.

    Returns:
        int64 [B], numbers below `size`.

    Example:
        >>> indices(0, np.arange(6), size=6, group=2).tolist()
        [4, 5, 2, 3, 0, 1]
    """
    groups, inside = np.divmod(positions, group)
    epochs, ranks = np.divmod(groups, size // group)
    out = np.empty_like(positions)
    for epoch in np.unique(epochs):
        current = epochs == epoch
        out[current] = permutation(seed, int(epoch), size // group)[ranks[current]]
    return out * group + inside


def bucketed(
    seed: int, step: int, batch_size: int, sizes: tuple[int, ...]
) -> tuple[int, np.ndarray]:
    """The batch of a step where a batch may hold examples of one bucket only.

    Every epoch visits all batches of all buckets in an order of its own; a bucket's examples form
    an endless stream as `indices` has it, so that the last batch of an epoch is a full one, too.

    Args:
        seed: of the data order.
        step: 0, 1, 2, ...
        batch_size: B.
        sizes: number of examples in each bucket, none of them 0.

    Returns:
        The bucket's number, and int64 [B], numbers of examples within it.

    Example:
        >>> [bucketed(0, step, 2, (4, 1))[0] for step in range(3)]
        [1, 0, 0]
    """
    batches = [-(-size // batch_size) for size in sizes]
    ends = np.cumsum(batches)
    epoch, rank = divmod(step, int(ends[-1]))
    place = int(permutation(seed, epoch, int(ends[-1]))[rank])
    bucket = int(np.searchsorted(ends, place, side="right"))
    number = epoch * batches[bucket] + place - (int(ends[bucket]) - batches[bucket])
    positions = number * batch_size + np.arange(batch_size, dtype=np.int64)
    return bucket, indices(seed, positions, sizes[bucket])


def chance(seed: int, first: int, count: int) -> np.ndarray:
    """Uniform numbers that belong to consecutive positions of the stream.

    Args:
        seed: of the data order.
        first: the first position.
        count: how many positions.

    Returns:
        float64 [count, 4] in [0, 1): four numbers for each position, the same however the
        positions are cut into batches, workers or processes.
    """
    bits = _philox(seed, _CHANCE, first).random_raw(count * WORDS)
    return (bits >> np.uint64(11)).reshape(count, WORDS) * 2.0**-53


def fresh_state(seed: int, step: int) -> np.random.RandomState:
    """The generator that draws the fresh vectors of one step, for scikit-learn's functions."""
    return np.random.RandomState(_philox(seed, _FRESH, 0, step))
