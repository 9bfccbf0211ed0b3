"""A depth map, as a U-Net with one more channel is shown it (Stable Diffusion 2's depth model)."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array


def sees_depth(model: Any) -> bool:
    """Whether the model is shown how near everything is: one channel more than its latents have."""
    channels = getattr(model.network.module, "in_channels", None)
    return model.factor > 1 and channels == model.shape[-1] + 1


def depth_channel(depth: Any, size: tuple[int, int], num: int) -> Array:
    """The channel that the U-Net sees: every map stretched to [-1, 1], nearest at 1.

    Args:
        depth: `[H, W]` or `[B, H, W]`, of any size and unit; the larger, the nearer, as the
            networks of the MiDaS family guess it.
        size: of the latents.
        num: of samples; B is that or 1.

    Returns:
        `[num, *size, 1]` float32.

    Raises:
        ValueError: maps of another kind or number, numbers that are not finite, or all the same.

    Example:
        >>> depth_channel(np.arange(64.0).reshape(8, 8), (8, 8), 1)[0, 0, 0].item()
        -1.0
    """
    maps = np.asarray(depth, np.float64)
    maps = maps[None] if maps.ndim == 2 else maps
    if maps.ndim != 3 or len(maps) not in (1, num):
        raise ValueError(
            f"expected one depth map [H, W], or {num}, got an array {list(np.shape(depth))}"
        )
    if not np.isfinite(maps).all():
        raise ValueError("expected finite depths, got some that are not")
    rows, columns = (_bicubic(*sides) for sides in zip(maps.shape[1:], size, strict=True))
    maps = rows @ maps @ columns.T
    low, high = (reach(maps, axis=(1, 2), keepdims=True) for reach in (np.min, np.max))
    if np.any(low == high):
        raise ValueError("a depth map of one single value shows nothing; give one with differences")
    shown = 2 * (maps - low) / (high - low) - 1
    return jnp.broadcast_to(jnp.asarray(shown[..., None], jnp.float32), (num, *size, 1))


def _bicubic(size: int, wanted: int) -> np.ndarray:
    """`[wanted, size]`: cubic interpolation with a = -3/4 (Keys 1981, eq. 4), no smoothing first.

    What lies outside is the edge's value. This is what the model was trained with.
    """
    centers = (np.arange(wanted) + 0.5) * size / wanted - 0.5
    first = np.floor(centers).astype(int) - 1
    matrix = np.zeros((wanted, size))
    for tap in range(4):
        away = np.abs(centers - (first + tap))
        near = 1.25 * away**3 - 2.25 * away**2 + 1
        far = -0.75 * (away**3 - 5 * away**2 + 8 * away - 4)
        weight = np.where(away <= 1, near, far)
        np.add.at(matrix, (np.arange(wanted), np.clip(first + tap, 0, size - 1)), weight)
    return matrix
