"""The description of a data set that a recipe carries and the command line overrides."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class DataConfig:
    """Which data, and what is done to them on the way to the network.

    One flat record for every source; a field that a source cannot use must keep its default,
    otherwise `diffax.data.load` says so.

    Example:
        >>> from diffax.data import DataConfig, load
        >>> dataset = load(DataConfig(name="digits", split="train"))
        >>> dataset.batch(0, seed=0, batch_size=4)["x"].shape
        (4, 8, 8, 1)
    """

    name: str = "s_curve"
    """What to load: a toy set (s_curve, swiss_roll, moons, circles, blobs, checkerboard, spiral),
    digits, image_folder, array, or the name of a TensorFlow data set such as cifar10 or
    name/config:version."""

    dir: str | None = None
    """Where the data lie: the folder of an image_folder, the .npy or .npz file of an array, the
    folder that holds prepared TensorFlow data sets."""

    split: str = "train"
    """train, test or all; for a TensorFlow data set any split it has, also slices (train[:80%])."""

    image_size: int | tuple[int, int] | None = None
    """Side, or (height, width), in pixels: the shorter side is resized, the middle is kept.
    None: as the pictures come, all of one size."""

    channels: int = 3
    """For image_folder: 3 (colour) or 1 (greyscale)."""

    background: tuple[int, int, int] = (255, 255, 255)
    """For image_folder: the colour, 0 to 255, seen through transparent pixels."""

    labels: bool = True
    """Give the class of every example, where the source has classes."""

    captions: bool = False
    """For image_folder: read captions from metadata.jsonl (field text) or from .txt files beside
    the pictures; batches then carry `index`, the row of the caption in `Dataset.captions`."""

    flip: bool = False
    """Mirror every second picture left to right, by chance."""

    random_crop: float = 0.0
    """Largest share, 0 to 0.9, of each side that a random crop (resized back) may cut off."""

    cache_mb: int = 4096
    """Decoded pictures are kept in memory where all of them fit in this many MiB; 0: never."""

    points: int = 10_000
    """For toy sets: how many points are drawn; 0: fresh points at every step."""

    noise: float | None = None
    """For toy sets: standard deviation of the noise on each coordinate, before scaling.
    None: the set's own default."""

    divisor: float | None = None
    """For points: divide them by this and do nothing else. None: standardise every coordinate to
    mean 0 and standard deviation 1."""

    data_seed: int = 0
    """For toy sets: the seed of the fixed set of points."""

    def __post_init__(self) -> None:
        """Checks every value that can be judged without looking at the data."""
        if not 0.0 <= self.random_crop <= 0.9:
            raise ValueError(f"data.random_crop must lie in 0 to 0.9, got {self.random_crop}")
        if self.channels not in (1, 3):
            raise ValueError(f"data.channels must be 1 or 3, got {self.channels}")
        if self.cache_mb < 0:
            raise ValueError(f"data.cache_mb must not be negative, got {self.cache_mb}")
        if self.points < 0:
            raise ValueError(f"data.points must not be negative, got {self.points}")
        if self.data_seed < 0:
            raise ValueError(f"data.data_seed must not be negative, got {self.data_seed}")
        if self.noise is not None and not (math.isfinite(self.noise) and self.noise >= 0):
            raise ValueError(f"data.noise must be a finite number >= 0, got {self.noise}")
        if self.divisor is not None and not (math.isfinite(self.divisor) and self.divisor > 0):
            raise ValueError(f"data.divisor must be a finite number > 0, got {self.divisor}")
        if len(self.background) != 3 or not all(0 <= c <= 255 for c in self.background):
            raise ValueError(
                f"data.background must be three numbers from 0 to 255, got {self.background}"
            )
        if self.size is not None and (len(self.size) != 2 or min(self.size) < 1):
            raise ValueError(
                f"data.image_size must be a side or (height, width) >= 1, got {self.image_size}"
            )

    @property
    def size(self) -> tuple[int, int] | None:
        """(height, width) asked for, or None where the pictures keep their own."""
        if isinstance(self.image_size, int):
            return (self.image_size, self.image_size)
        return None if self.image_size is None else tuple(self.image_size)

    @property
    def stored_size(self) -> tuple[int, int] | None:
        """(height, width) kept in memory: larger than `size` by what a random crop may cut off.

        So a crop shrinks real pixels instead of enlarging an already reduced picture.
        """
        if self.size is None or self.random_crop == 0:
            return self.size
        height, width = self.size
        keep = 1.0 - self.random_crop
        return (math.ceil(height / keep), math.ceil(width / keep))
