"""Aspect buckets: images keep their shape, roughly, and a batch holds images of one shape."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from diffax.data import order, pixels
from diffax.data.source import Batch

_WIDEST = 2.0  # largest ratio of the sides


def shapes(size: tuple[int, int], step: int) -> list[tuple[int, int]]:
    """(height, width) of all buckets: multiples of `step`, of about the area of `size`.

    Example:
        >>> shapes((128, 128), step=32)
        [(96, 160), (128, 128), (160, 96)]
    """
    area = size[0] * size[1]
    found = set()
    for height in range(step, int(area**0.5 * _WIDEST) + 1, step):
        width = int(area / height) // step * step
        if width and max(height / width, width / height) <= _WIDEST:
            found.add((height, width))
    return sorted(found)


def nearest(sizes: list[tuple[int, int]], known: list[tuple[int, int]]) -> np.ndarray:
    """The bucket, int64 [N], whose ratio of sides is nearest to each image's."""
    ratios, own = (np.log([h / w for h, w in pairs]) for pairs in (known, sizes))
    return np.argmin(np.abs(own[:, None] - ratios[None]), axis=1)


def reader(
    decode: Callable[[str], np.ndarray], names: list[str], wanted: list[tuple[int, int]]
) -> Callable[[np.ndarray], Batch]:
    """A reader of {"x", "index"} that gives all images the first one's shape.

    Args:
        decode: a name -> uint8 [H, W, C], of any size.
        names: of the images.
        wanted: (height, width) of each image's bucket.
    """

    def read(rows: np.ndarray) -> Batch:
        size = wanted[int(rows[0])]
        images = [pixels.fit(decode(names[row]), size) for row in rows]
        return {"x": np.stack(images), "index": rows}

    return read


def arrangement(chosen: np.ndarray) -> Callable[[int, int, int], np.ndarray]:
    """(seed, step, B) -> rows int64 [B], all of one bucket, of images with these buckets."""
    members = [np.flatnonzero(chosen == bucket) for bucket in np.unique(chosen)]
    sizes = tuple(map(len, members))

    def arrange(seed: int, step: int, batch_size: int) -> np.ndarray:
        bucket, rows = order.bucketed(seed, step, batch_size, sizes)
        return members[bucket][rows]

    return arrange


def note(used: list[tuple[int, int]], counts: np.ndarray) -> str:
    """A line for the report."""
    parts = (f"{h} x {w} ({n:,})" for (h, w), n in zip(used, counts, strict=True))
    return "buckets: " + ", ".join(parts)
