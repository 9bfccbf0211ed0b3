"""The 1,797 real scans of handwritten digits that come with scikit-learn: 8 x 8, greyscale."""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits

from diffax.data import picture
from diffax.data.config import DataConfig
from diffax.data.source import Source

HELD_OUT = 5  # every fifth scan: rows 4, 9, 14, ...


def load(config: DataConfig) -> Source:
    """The source of the digits.

    Splits: "all" 1,797 scans; "test" the 359 in rows 4, 9, 14, ... of scikit-learn's order;
    "train" the other 1,438. Grey levels 0 to 16 become 0 to 255.
    """
    bunch = load_digits()
    images = np.rint(bunch.images * (255 / 16)).astype(np.uint8)[..., None]
    labels = bunch.target.astype(np.int32)
    held_out = np.arange(len(images)) % HELD_OUT == HELD_OUT - 1
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
