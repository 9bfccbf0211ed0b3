"""Images and masks named on the command line."""

from __future__ import annotations

import numpy as np

from diffax.commands.errors import UsageError
from diffax.data import pixels


def read_image(path: str, *, channels: int = 3, size: tuple[int, int] | None = None) -> np.ndarray:
    """An image, uint8 `[H, W, C]`.

    Args:
        path: PNG, JPEG, WebP, ...
        channels: 3 or 1.
        size: (height, width): the shorter side is resized and the middle kept; None: as it is.

    Raises:
        UsageError: there is no such file, or it is no image.
    """
    try:
        image = pixels.decode(path, channels=channels)
    except FileNotFoundError:
        raise UsageError(f"there is no image {path}") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error}") from None
    return image if size is None else pixels.fit(image, size)


def read_mask(path: str, of: str, *, size: tuple[int, int] | None = None) -> np.ndarray:
    """A mask, uint8 `[H, W, 1]`: white is made anew, black is kept.

    Args:
        path: of the mask.
        of: the image it belongs to, of the same size.
        size: as for `read_image`.

    Raises:
        UsageError: it cannot be read, or differs from the image in size.
    """
    mask = read_image(path, channels=1)
    theirs = read_image(of).shape[:2]
    if mask.shape[:2] != theirs:
        raise UsageError(
            f"--mask {path} is {mask.shape[1]}x{mask.shape[0]}, --init-image {of} is "
            f"{theirs[1]}x{theirs[0]}: resize one of them"
        )
    return mask if size is None else pixels.fit(mask, size)
