"""8-bit grey levels <-> the numbers that networks see: 0 to 255 <-> -1 to 1.

`to_float` and `to_uint8` take NumPy arrays and JAX arrays (also inside `jax.jit`) and give the same
kind back.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def to_float(images: Any) -> Any:
    """Turns 8-bit levels into numbers from -1 to 1: x = levels / 127.5 - 1.

    Args:
        images: uint8, of any shape.

    Returns:
        float32, the same shape; 0 becomes -1, 255 becomes 1.

    Raises:
        ValueError: another type.

    Example:
        >>> import numpy as np
        >>> to_float(np.array([0, 51, 255], np.uint8)).tolist()
        [-1.0, -0.6000000238418579, 1.0]
    """
    images, xp = _array(images)
    if images.dtype != np.uint8:
        raise ValueError(f"expected uint8 images, 0 to 255, got {images.dtype}")
    return images.astype(xp.float32) / 127.5 - 1


def to_uint8(x: Any) -> Any:
    """Turns numbers from -1 to 1 into the nearest 8-bit levels.

    Args:
        x: floating point, of any shape. What lies outside [-1, 1] is clipped to it; what is not a
            number becomes black. uint8 is returned as it is.

    Returns:
        uint8, the same shape; -1 becomes 0, 1 becomes 255.

    Raises:
        ValueError: another type.

    Example:
        >>> import numpy as np
        >>> to_uint8(np.array([-1.0, 0.0, 1.0, 7.0, np.nan])).tolist()
        [0, 128, 255, 255, 0]
    """
    x, xp = _array(x)
    if x.dtype == np.uint8:
        return x
    if not x.dtype.name.startswith(("float", "bfloat")):
        raise ValueError(f"expected uint8 or floating-point images, got {x.dtype}")
    x = x.astype(xp.float32)
    levels = xp.where(xp.isnan(x), -1.0, xp.clip(x, -1.0, 1.0))
    return xp.rint((levels + 1.0) * 127.5).astype(xp.uint8)


def as_images(image: Any, num: int, channels: int | None = 3) -> np.ndarray:
    """`[num, H, W, C]` float32 in [-1, 1] of one image or of `num`.

    Args:
        image: `[H, W, channels]` or `[B, H, W, channels]`, uint8 or floats in [-1, 1].
        num: how many are wanted.
        channels: of an image; None: any number.

    Raises:
        ValueError: not such images, values out of range, or another number of images.
    """
    images = np.asarray(image)
    if images.ndim == 3:
        images = images[None]
    if images.ndim != 4 or channels not in (None, images.shape[-1]):
        kind, count = "a colour image" if channels == 3 else "an image", channels or "C"
        raise ValueError(
            f"expected {kind} [H, W, {count}], or [B, H, W, {count}], got shape {images.shape}"
        )
    if images.dtype == np.uint8:
        images = to_float(images)
    if not np.issubdtype(images.dtype, np.floating) or not np.abs(images).max() <= 1 + 1e-4:
        raise ValueError(
            f"expected images in uint8, or in floats within [-1, 1], got {images.dtype} "
            f"from {images.min()} to {images.max()}"
        )
    if images.shape[0] not in (1, num):
        raise ValueError(f"expected one image, or {num}, got {images.shape[0]}")
    return np.broadcast_to(images.astype(np.float32), (num, *images.shape[1:]))


def _array(x: Any) -> tuple[Any, Any]:
    """The array, and the library it belongs to."""
    x = x if hasattr(x, "__array_namespace__") else np.asarray(x)
    return x, x.__array_namespace__()
