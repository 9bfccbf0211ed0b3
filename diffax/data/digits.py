"""The 1,797 real scans of handwritten digits that come with scikit-learn: 8 x 8, greyscale."""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits

from diffax.data import picture
from diffax.data.config import DataConfig
from diffax.data.source import Source

HELD_OUT = 5  # every fifth scan of each digit


def load(config: DataConfig) -> Source:
    """The source of the digits.

    Splits, each in scikit-learn's order: "all" the 1,797 scans; "test" every fifth scan of each
    digit (the fifth, tenth, ... zero, and so on), 355; "train" the other 1,442. Grey levels 0 to 16
    become 0 to 255.
    """
    bunch = load_digits()
    images = np.rint(bunch.images * (255 / 16)).astype(np.uint8)[..., None]
    labels = bunch.target.astype(np.int32)
    rank = np.sum(np.tril(labels[:, None] == labels), axis=1)  # 1 for the first zero, ...
    held_out = rank % HELD_OUT == 0
    keep = {"train": ~held_out, "test": held_out, "all": np.ones_like(held_out)}
    if config.split not in keep:
        raise ValueError(f"digits has the splits train, test and all, got {config.split!r}")
    images, labels = images[keep[config.split]], labels[keep[config.split]]
    images = picture.fit_all(images, config.stored_size)
    return Source(
        kind="image",
        shape=images.shape[1:],
        size=len(images),
        read=lambda rows: {"x": images[rows], "label": labels[rows]},
        classes=tuple(str(name) for name in bunch.target_names),
        labels=labels,
    )
