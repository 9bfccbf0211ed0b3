"""The fields that all records of image data share."""

from __future__ import annotations

import math
from dataclasses import dataclass

LARGEST_SIDE = 65_536


@dataclass(frozen=True, kw_only=True)
class ImageOptions:
    """What is done to images on the way into a batch."""

    image_size: int | tuple[int, int] | None = None
    """Side, or (height, width), in pixels: the shorter side is resized, the middle is kept.
    None: as the images come, all of one size."""

    flip: bool = False
    """Mirror every second image left to right, by chance."""

    random_crop: float = 0.0
    """Largest share, 0 to 0.9, of each side that a random crop (resized back) may cut off."""

    def __post_init__(self) -> None:
        """Checks every value that can be judged without looking at the data."""
        if isinstance(self.image_size, list):  # as JSON brings it back
            object.__setattr__(self, "image_size", tuple(self.image_size))
        if not 0.0 <= self.random_crop <= 0.9:
            raise ValueError(f"data.random_crop must lie in 0 to 0.9, got {self.random_crop}")
        if self.size is not None and (
            len(self.size) != 2 or not all(1 <= side <= LARGEST_SIDE for side in self.size)
        ):
            raise ValueError(
                "data.image_size must be a side or (height, width), each 1 to "
                f"{LARGEST_SIDE:,} pixels, got {self.image_size}"
            )

    @property
    def size(self) -> tuple[int, int] | None:
        """(height, width) asked for, or None where the images keep their own."""
        if isinstance(self.image_size, int):
            return (self.image_size, self.image_size)
        return self.image_size

    @property
    def stored_size(self) -> tuple[int, int] | None:
        """(height, width) kept in memory: larger than `size` by what a random crop may cut off.

        So a crop shrinks real pixels instead of enlarging an already reduced image.
        """
        if self.size is None or self.random_crop == 0:
            return self.size
        height, width = self.size
        keep = 1.0 - self.random_crop
        return (math.ceil(height / keep), math.ceil(width / keep))


def check_split(split: str, known: tuple[str, ...]) -> None:
    """Refuses a split that a set does not have."""
    if split not in known:
        raise ValueError(f"data.split must be one of {', '.join(known)}, got {split!r}")


def check_cache(cache_mb: int) -> None:
    """Refuses a cache of less than nothing."""
    if cache_mb < 0:
        raise ValueError(f"data.cache_mb must not be negative, got {cache_mb}")
