"""Images side by side: grids and strips, with what is said of each."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from diffax.image_range import to_uint8
from diffax.plotting import lettering

_HEAD = 48  # pixels that "t = 999" needs above a column


def image_grid(
    images: np.ndarray,
    *,
    columns: int | None = None,
    padding: int = 2,
    background: int = 255,
    min_width: int = 512,
    captions: Sequence[str] | None = None,
    title: str = "",
) -> np.ndarray:
    """Lays images out in rows.

    Args:
        images: [N, H, W, C] with C = 1 or 3, uint8 or floating point in [-1, 1].
        columns: images in a row; None: the smallest square that holds them.
        padding: pixels of the page between and around the images; a single image without a
            title has none around it.
        background: grey level of the gaps, 0 to 255.
        min_width: small images are enlarged by a whole factor, pixels kept sharp, until the grid
            is so many pixels wide. Gaps stay as they are.
        captions: N texts, each below its image, in up to three lines; where all are the same they
            say nothing and are left out, as with None.
        title: above all.

    Returns:
        uint8 [height, width, C].

    Example:
        >>> import numpy as np
        >>> image_grid(np.zeros((6, 8, 8, 1)), columns=3, min_width=100).shape
        (70, 104, 1)
    """
    images = check(images)
    count, height, width, channels = images.shape
    columns = math.ceil(math.sqrt(count)) if columns is None else columns
    if columns < 1:
        raise ValueError(f"expected at least one column, got {columns}")
    if captions is not None and len(captions) != count:
        raise ValueError(f"expected {count} captions, one an image, got {len(captions)}")
    captions = captions if captions is not None and len(set(captions)) > 1 else ()
    if count == 1 and not title:
        padding = 0
    factor = max(1, math.ceil((min_width - padding * (columns + 1)) / (width * columns)))
    rows, height, width = math.ceil(count / columns), height * factor, width * factor
    texts = lettering.captions(captions, width, background)
    below = max((len(text) for text in texts), default=0)
    cell_h, cell_w = height + below + padding, width + padding
    grid = np.full(
        (rows * cell_h + padding, columns * cell_w + padding, channels), background, np.uint8
    )
    for i, image in enumerate(images):
        top, left = padding + i // columns * cell_h, padding + i % columns * cell_w
        enlarged = image.repeat(factor, axis=0).repeat(factor, axis=1)
        grid[top : top + height, left : left + width] = enlarged
        for text in texts[i : i + 1]:
            grid[top + height : top + height + len(text), left : left + width] = text
    if not title:
        return grid
    return lettering.above(grid, [title], background)


def strip(
    trajectory: np.ndarray,
    *,
    count: int = 10,
    min_width: int = 512,
    titles: Sequence[str] | None = None,
) -> np.ndarray:
    """Shows how images come about: a row for each, time from left to right.

    Args:
        trajectory: [K, N, H, W, C], K moments of N images, uint8 or floating point in [-1, 1]; of
            a denoising with S steps K = S + 1, pure noise first.
        count: moments shown, evenly spaced, always the first and the last.
        min_width: as for `image_grid`.
        titles: K texts, those of the moments shown stand above their columns; None: none.

    Returns:
        uint8 [height, width, C].
    """
    trajectory = np.asarray(trajectory)
    if trajectory.ndim != 5 or 0 in trajectory.shape:
        raise ValueError(
            f"expected a trajectory [K, N, H, W, C], got shape {list(trajectory.shape)}"
        )
    chosen = evenly_spaced(len(trajectory), count)
    if titles is not None and len(titles) != len(trajectory):
        raise ValueError(f"expected {len(trajectory)} titles, one a moment, got {len(titles)}")
    by_image = trajectory[chosen].swapaxes(0, 1)
    grid = image_grid(
        by_image.reshape(-1, *by_image.shape[2:]),
        columns=len(chosen),
        min_width=min_width if titles is None else max(min_width, _HEAD * len(chosen)),
    )
    return grid if titles is None else lettering.above(grid, [titles[i] for i in chosen])


def side_by_side(stages: Sequence[np.ndarray]) -> np.ndarray:
    """Images of several sizes, each as one image of all its sizes, the first on the left.

    Args:
        stages: uint8 or floating point in [-1, 1], `[N, H, W, C]` each; every H divides the last,
            as a cascade's do, and all have one shape. Smaller ones are enlarged, pixels kept sharp.

    Returns:
        uint8 `[N, H, widths, C]`, with the last one's H.

    Example:
        >>> side_by_side([np.zeros((2, 4, 4, 3)), np.zeros((2, 8, 8, 3))]).shape
        (2, 8, 16, 3)
    """
    stages = [check(stage) for stage in stages]
    height = stages[-1].shape[1]
    sizes = [stage.shape[1] for stage in stages]
    if any(height % size for size in sizes):
        raise ValueError(f"expected heights that divide the last stage's {height}, got {sizes}")
    larger = [
        stage.repeat(height // size, axis=1).repeat(height // size, axis=2)
        for stage, size in zip(stages, sizes, strict=True)
    ]
    return np.concatenate(larger, axis=2)


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
