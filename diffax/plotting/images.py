"""Images side by side: grids and strips."""

from __future__ import annotations

import math

import numpy as np

from diffax.image_range import to_uint8


def image_grid(
    images: np.ndarray,
    *,
    columns: int | None = None,
    padding: int = 1,
    background: int = 255,
    min_width: int = 512,
) -> np.ndarray:
    """Lays images out in rows.

    Args:
        images: [N, H, W, C] with C = 1 or 3, uint8 or floating point in [-1, 1].
        columns: images in a row; None: the smallest square that holds them.
        padding: pixels of an image between and around the images.
        background: grey level of the gaps, 0 to 255.
        min_width: small images are enlarged by a whole factor, pixels kept sharp, until the grid
            is so many pixels wide.

    Returns:
        uint8 [height, width, C].

    Example:
        >>> import numpy as np
        >>> image_grid(np.zeros((6, 8, 8, 1)), columns=3, min_width=100).shape
        (76, 112, 1)
    """
    images = check(images)
    count, height, width, channels = images.shape
    columns = math.ceil(math.sqrt(count)) if columns is None else columns
    if columns < 1:
        raise ValueError(f"expected at least one column, got {columns}")
    rows = math.ceil(count / columns)
    cell_h, cell_w = height + padding, width + padding
    grid = np.full(
        (rows * cell_h + padding, columns * cell_w + padding, channels), background, np.uint8
    )
    for i, image in enumerate(images):
        top, left = padding + i // columns * cell_h, padding + i % columns * cell_w
        grid[top : top + height, left : left + width] = image
    return _enlarge(grid, min_width)


def strip(trajectory: np.ndarray, *, count: int = 10, min_width: int = 512) -> np.ndarray:
    """Shows how images come about: a row for each, time from left to right.

    Args:
        trajectory: [K, N, H, W, C], K moments of N images, uint8 or floating point in [-1, 1]; of
            a denoising with S steps K = S + 1, pure noise first.
        count: moments shown, evenly spaced, always the first and the last.
        min_width: as for `image_grid`.

    Returns:
        uint8 [height, width, C].
    """
    trajectory = np.asarray(trajectory)
    if trajectory.ndim != 5 or 0 in trajectory.shape:
        raise ValueError(
            f"expected a trajectory [K, N, H, W, C], got shape {list(trajectory.shape)}"
        )
    chosen = evenly_spaced(len(trajectory), count)
    by_image = trajectory[chosen].swapaxes(0, 1)
    return image_grid(
        by_image.reshape(-1, *by_image.shape[2:]), columns=len(chosen), min_width=min_width
    )


def evenly_spaced(total: int, most: int) -> np.ndarray:
    """Chooses moments of a trajectory to show: evenly spaced, always the first and the last.

    Args:
        total: how many there are, >= 1.
        most: how many are shown at most, >= 2 (the first and the last).

    Returns:
        int [min(total, most)], ascending.

    Example:
        >>> evenly_spaced(101, 5).tolist()
        [0, 25, 50, 75, 100]
    """
    return np.rint(np.linspace(0, total - 1, min(total, most))).astype(int)


def check(images: np.ndarray) -> np.ndarray:
    """Images as uint8 [N, H, W, C] with C = 1 or 3, or a ValueError that says what came."""
    images = np.asarray(images)
    if images.ndim != 4 or 0 in images.shape or images.shape[-1] not in (1, 3):
        raise ValueError(
            f"expected images [N, H, W, C] with C = 1 or 3, got shape {list(images.shape)}"
        )
    return to_uint8(images)


def _enlarge(image: np.ndarray, min_width: int) -> np.ndarray:
    factor = max(1, math.ceil(min_width / image.shape[1]))
    return image.repeat(factor, axis=0).repeat(factor, axis=1)
