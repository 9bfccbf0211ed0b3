"""Random changes to images, decided by numbers that belong to their place in the stream."""

from __future__ import annotations

import numpy as np

from diffax.data import pixels


def apply(
    images: np.ndarray,
    chance: np.ndarray,
    *,
    size: tuple[int, int],
    flip: bool,
    random_crop: float,
) -> np.ndarray:
    """Crops, resizes and mirrors a batch.

    Args:
        images: uint8 [B, H, W, C], as the source keeps them.
        chance: float64 [B, 4], uniform in [0, 1): crop's side, top, left; mirror.
        size: (height, width) of the result.
        flip: mirror left to right with probability one half.
        random_crop: largest share of each side that is cut off; the share is uniform in
            [0, random_crop], the crop's place uniform among those inside the image, its shape
            that of `size`.

    Returns:
        uint8 [B, height, width, C], never a view of `images`.
    """
    if random_crop > 0:
        out = np.empty((len(images), *size, images.shape[-1]), np.uint8)
        height, width = images.shape[1:3]
        sides = 1.0 - random_crop * chance[:, 0]
        for i, (image, side) in enumerate(zip(images, sides, strict=True)):
            top, left = chance[i, 1] * (1 - side) * height, chance[i, 2] * (1 - side) * width
            right, bottom = min(left + side * width, width), min(top + side * height, height)
            out[i] = pixels.resize(image, size, (left, top, right, bottom))
        images = out
    if flip:
        mirrored = chance[:, 3] < 0.5
        images = np.where(mirrored[:, None, None, None], images[:, :, ::-1], images)
    return images
