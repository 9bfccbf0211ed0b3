"""Halving and doubling of feature maps, `[B, H, W, C]`, in forms whose gradients are cheap."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp

from diffax.models.blocks.style import Style


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


def fold(x: jax.Array, size: int) -> jax.Array:
    """Squares of `size` x `size` pixels as channels: `[B, H, W, C]` to `[B, H/s, W/s, s s C]`."""
    batch, height, width, channels = x.shape
    x = x.reshape(batch, height // size, size, width // size, size, channels)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(
        batch, height // size, width // size, size * size * channels
    )


def unfold(x: jax.Array, size: int) -> jax.Array:
    """The inverse of `fold`."""
    batch, height, width, channels = x.shape
    x = x.reshape(batch, height, width, size, size, channels // size**2)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(batch, height * size, width * size, -1)


class Downsample(nn.Module):
    """A 3 x 3 convolution of stride 2.

    Attributes:
        style: see `Style`.
        padding: pixels on each side; 0 means none before and one after, as in the published files
            (DDPM and the autoencoders).
    """

    style: Style
    padding: int = 0

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """`[B, H, W, C]` to half the height and width."""
        pad = (0, 1) if self.padding == 0 else (self.padding, self.padding)
        return self.style.conv(x.shape[-1], "conv", stride=2, padding=(pad, pad))(x)


class Upsample(nn.Module):
    """Doubling (to `size` where given) and a 3 x 3 convolution.

    Attributes:
        style: see `Style`.
        bilinear: interpolate between pixel centres, instead of repeating pixels.
    """

    style: Style
    bilinear: bool = False

    @nn.compact
    def __call__(self, x: jax.Array, size: tuple[int, int] | None = None) -> jax.Array:
        """`[B, H, W, C]` to twice the height and width, cropped to `size`."""
        x = upsample_bilinear(x) if self.bilinear else upsample_nearest(x)
        if size is not None:
            x = x[:, : size[0], : size[1]]
        return self.style.conv(x.shape[-1], "conv")(x)


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
