"""Weights and images for Inception that follow from names, for the reference and for us alike.

Published weights are not needed: both sides are filled by the same formula, of which only the
reference's answers are committed.
"""

from __future__ import annotations

import zlib

import numpy as np

# Height and width of one image each: smaller, larger and as large as the network wants; not square.
SIZES = ((32, 32), (64, 48), (299, 299), (320, 410))


def weight(key: str, shape: tuple[int, ...]) -> np.ndarray:
    """The tensor of PyTorch's name `key`, so scaled that no layer dies out or runs away."""
    draws = np.random.RandomState(zlib.crc32(key.encode())).standard_normal(shape)
    if key.endswith("running_var"):
        value = 1 + 0.5 * np.abs(draws)
    elif key.endswith(("bias", "running_mean")):
        value = 0.1 * draws
    elif len(shape) == 1:
        value = 1 + 0.1 * draws
    else:
        value = draws * np.sqrt(2 / np.prod(shape[1:]))
    return np.asarray(value, np.float32)


def image(height: int, width: int) -> np.ndarray:
    """Random levels, uint8 `[1, H, W, 3]`."""
    draws = np.random.RandomState(height * 1000 + width)
    return draws.randint(0, 256, (1, height, width, 3)).astype(np.uint8)
