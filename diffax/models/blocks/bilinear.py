"""Bilinear resizing to any size, as two reference programs of the FID do it.

Neither smooths before it makes an image smaller. They differ in where they look: with scale
s = size before / size after, pixel i lies at s i in TensorFlow 1, whose grid starts at the first
pixel, and at s (i + 1/2) - 1/2 in PyTorch, whose pixels are small squares.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

GRIDS = ("tensorflow", "pytorch")


def resize_bilinear(
    x: jax.Array, height: int, width: int, *, grid: str = "tensorflow"
) -> jax.Array:
    """Resizes by linear interpolation between the nearest two rows and columns.

    Args:
        x: `[B, H, W, C]`, floating point.
        height, width: wanted, in pixels.
        grid: "tensorflow" (version 1, without aligned corners) or "pytorch"
            (`align_corners=False`).

    Returns:
        `[B, height, width, C]`, of x's dtype.

    Raises:
        ValueError: another grid.

    Example:
        >>> x = jnp.array([0.0, 1.0]).reshape(1, 1, 2, 1)
        >>> resize_bilinear(x, 1, 4).ravel().tolist()
        [0.0, 0.5, 1.0, 1.0]
        >>> resize_bilinear(x, 1, 4, grid="pytorch").ravel().tolist()
        [0.0, 0.25, 0.75, 1.0]
    """
    if grid not in GRIDS:
        raise ValueError(f"grid: expected one of {', '.join(GRIDS)}, got {grid!r}")
    if x.shape[1:3] == (height, width):
        return x
    return _interpolate(_interpolate(x, 2, width, grid), 1, height, grid)


def _interpolate(x: jax.Array, axis: int, size: int, grid: str) -> jax.Array:
    low, high, share = _places(x.shape[axis], size, grid)
    before, after = jnp.take(x, low, axis=axis), jnp.take(x, high, axis=axis)
    along = [1] * x.ndim
    along[axis] = size
    return before + (after - before) * jnp.asarray(share, x.dtype).reshape(along)


def _places(before: int, after: int, grid: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each new pixel the two old ones around it, and the share of the second.

    In float32 throughout, as both programs compute it.
    """
    scale = np.float32(before / after)
    index = np.arange(after, dtype=np.float32)
    half = np.float32(0.5 if grid == "pytorch" else 0.0)
    place = np.maximum(scale * (index + half) - half, np.float32(0))
    low = np.minimum(place.astype(np.int64), before - 1)
    high = np.minimum(low + 1, before - 1)
    return low, high, place - low.astype(np.float32)
