"""The 1,797 real scans of handwritten digits that come with scikit-learn: 8 x 8, greyscale."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from diffax.data import pixels
from diffax.data.dataset import Dataset
from diffax.data.options import ImageOptions, check_split
from diffax.data.source import Source, columns

HELD_OUT = 5  # every fifth scan of each digit
SPLITS = ("train", "test", "all")


@dataclass(frozen=True)
class Digits(ImageOptions):
    """Handwritten digits, uint8 [8, 8, 1], in ten classes; grey levels 0 to 16 become 0 to 255.

    Splits, each in scikit-learn's order: "all" the 1,797 scans; "test" every fifth scan of each
    digit (the fifth, tenth, ... zero, and so on), 355; "train" the other 1,442.

    Example:
        >>> Digits(split="test").load().batch(0, seed=0, batch_size=4)["x"].shape
        (4, 8, 8, 1)
    """

    split: Literal["train", "test", "all"] = "train"
    """train, test or all."""

    labels: bool = True
    """Give the digit of every scan as its class."""

    def __post_init__(self) -> None:
        """Checks every value."""
        super().__post_init__()
        check_split(self.split, SPLITS)

    def load(self) -> Dataset:
        """Opens the digits."""
        from sklearn.datasets import load_digits  # slow to import: only where it is needed

        bunch: Any = load_digits()
        images = np.rint(bunch.images * (255 / 16)).astype(np.uint8)[..., None]
        labels = bunch.target.astype(np.int32)
        rank = np.sum(np.tril(labels[:, None] == labels), axis=1)  # 1 for the first zero, ...
        held_out = rank % HELD_OUT == 0
        keep = {"train": ~held_out, "test": held_out, "all": np.ones_like(held_out)}[self.split]
        found = {"x": pixels.fit_all(images[keep], self.stored_size)}
        if self.labels:
            found["label"] = labels[keep]
        source = Source(
            columns=columns(found["x"].shape[1:], "uint8", label=self.labels),
            size=len(found["x"]),
            read=lambda rows: {key: value[rows] for key, value in found.items()},
            class_names=tuple(str(name) for name in bunch.target_names) if self.labels else (),
            labels=found.get("label"),
        )
        return Dataset(f"digits ({self.split})", source, self)
