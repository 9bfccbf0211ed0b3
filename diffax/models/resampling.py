"""Halving and doubling of feature maps, `[B, H, W, C]`, in forms whose gradients are cheap."""

import jax
import jax.numpy as jnp


def average_pool(x: jax.Array) -> jax.Array:
    """Mean of every 2 x 2 square: `[B, H, W, C]`, H and W even, to `[B, H/2, W/2, C]`."""
    return _squares(x).mean(axis=(2, 4))


def max_pool(x: jax.Array) -> jax.Array:
    """Maximum of every 2 x 2 square: `[B, H, W, C]`, H and W even, to `[B, H/2, W/2, C]`."""
    return _squares(x).max(axis=(2, 4))


def upsample_nearest(x: jax.Array) -> jax.Array:
    """Repeat every pixel as a 2 x 2 square: `[B, H, W, C]` to `[B, 2H, 2W, C]`."""
    batch, height, width, channels = x.shape
    squares = jnp.broadcast_to(x[:, :, None, :, None, :], (batch, height, 2, width, 2, channels))
    return squares.reshape(batch, 2 * height, 2 * width, channels)


def upsample_bilinear(x: jax.Array) -> jax.Array:
    """Double by bilinear interpolation between pixel centres: `[B, H, W, C]` to `[B, 2H, 2W, C]`.

    The same as `jax.image.resize(..., "bilinear")` and PyTorch's `align_corners=False`.
    """
    return _double_linear(_double_linear(x, 1), 2)


def _squares(x: jax.Array) -> jax.Array:
    batch, height, width, channels = x.shape
    return x.reshape(batch, height // 2, 2, width // 2, 2, channels)


def _double_linear(x: jax.Array, axis: int) -> jax.Array:
    """New centres lie a quarter of a pixel to either side of the old ones; the border repeats."""
    size = x.shape[axis]
    first = jax.lax.slice_in_dim(x, 0, 1, axis=axis)
    last = jax.lax.slice_in_dim(x, size - 1, size, axis=axis)
    before = jnp.concatenate([first, jax.lax.slice_in_dim(x, 0, size - 1, axis=axis)], axis)
    after = jnp.concatenate([jax.lax.slice_in_dim(x, 1, size, axis=axis), last], axis)
    pairs = jnp.stack([0.75 * x + 0.25 * before, 0.75 * x + 0.25 * after], axis=axis + 1)
    return pairs.reshape(*x.shape[:axis], 2 * size, *x.shape[axis + 1 :])
