"""Halving and doubling of feature maps, `[B, H, W, C]`, in forms whose gradients are cheap."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from diffax.models.blocks.convolution import upsample_nearest
from diffax.models.blocks.style import Style


def average_pool(x: jax.Array) -> jax.Array:
    """Mean of every 2 x 2 square: `[B, H, W, C]`, H and W even, to `[B, H/2, W/2, C]`."""
    return _squares(x).mean(axis=(2, 4))


def max_pool(x: jax.Array) -> jax.Array:
    """Maximum of every 2 x 2 square: `[B, H, W, C]`, H and W even, to `[B, H/2, W/2, C]`.

    Where several are largest, the gradient goes to one of them.
    """
    # By choosing, not by `max`: its gradient asks which entries equal the maximum, and a compiler
    # that computes them once more to ask may round otherwise and find none: 0 / 0.
    squares = _squares(x)
    rows = _larger(squares[:, :, 0], squares[:, :, 1])
    return _larger(rows[:, :, :, 0], rows[:, :, :, 1])


def upsample_row(x: jax.Array) -> jax.Array:
    """Repeat every column: `[B, H, W, C]` to `[B, H, 2W, C]`."""
    return jnp.repeat(x, 2, axis=2)


def upsample_bilinear(x: jax.Array) -> jax.Array:
    """Double by bilinear interpolation between pixel centres: `[B, H, W, C]` to `[B, 2H, 2W, C]`.

    The same as `jax.image.resize(..., "bilinear")` and PyTorch's `align_corners=False`.
    """
    return _double_linear(_double_linear(x, 1), 2)


def upsample_aligned(x: jax.Array) -> jax.Array:
    """Double by bilinear interpolation that keeps the corners: `[B, H, W, C]` to `[B, 2H, 2W, C]`.

    PyTorch's `align_corners=True`: pixel i of 2H lies at i (H - 1) / (2H - 1) of the old ones.
    """
    rows, columns = (_aligned(size, x.dtype) for size in x.shape[1:3])
    return jnp.einsum("ph,qw,bhwc->bpqc", rows, columns, x)


def filter_down(
    x: jax.Array, taps: tuple[int, ...] = (1, 1), padding: int | None = None
) -> jax.Array:
    """Every other pixel of a blurred image, `[B, H, W, C]` to `[B, H/2, W/2, C]`.

    The resampling filter of NCSN++ (Song et al. 2021, after Zhang 2019), along both axes.

    Args:
      x: `[B, H, W, C]`, even when padded.
      taps: an even number of weights; they are divided by their sum. (1, 1) takes averages.
      padding: zeros on each side; None for as many as keep the centres, half the taps less one.
    """
    padding = len(taps) // 2 - 1 if padding is None else padding
    if taps == (1, 1) and padding == 0:
        return average_pool(x)
    weights = [tap / sum(taps) for tap in taps]
    return _filter_down(_filter_down(x, weights, padding, 1), weights, padding, 2)


def filter_up(x: jax.Array, taps: tuple[int, ...] = (1, 1)) -> jax.Array:
    """An image with zeros between its pixels, blurred: `[B, H, W, C]` to `[B, 2H, 2W, C]`.

    The transpose of `filter_down`, times 4.

    Args:
      x: `[B, H, W, C]`.
      taps: an even number of weights; they are divided by half their sum. (1, 1) repeats pixels.
    """
    if taps == (1, 1):
        return upsample_nearest(x)
    weights = [2 * tap / sum(taps) for tap in taps]
    return _filter_up(_filter_up(x, weights, 1), weights, 2)


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
        conv = self.style.conv(x.shape[-1], "conv")
        doubled = (2 * x.shape[1], 2 * x.shape[2])
        if self.style.axes == 2 and not self.bilinear and size in (None, doubled):
            return conv(x, doubled=True)
        if self.style.axes == 1:
            x = upsample_row(x)
        else:
            x = upsample_bilinear(x) if self.bilinear else upsample_nearest(x)
        if size is not None:
            x = x[:, : size[0], : size[1]]
        return conv(x)


def _aligned(size: int, dtype: Any) -> jax.Array:
    """Weights `[2 size, size]` of the old pixels in the new ones."""
    places = np.arange(2 * size) * (size - 1) / (2 * size - 1)
    away = np.abs(places[:, None] - np.arange(size)[None, :])
    return jnp.asarray(np.maximum(1 - away, 0), dtype)


def _larger(a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.where(a >= b, a, b)


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


def _filter_down(x: jax.Array, weights: list[float], padding: int, axis: int) -> jax.Array:
    """`out[i] = sum_k weights[k] x[2 i + k - padding]`, taken from pairs of neighbours."""
    x = _padded(x, padding, axis)
    half = x.shape[axis] // 2
    pairs = x.reshape(*x.shape[:axis], half, 2, *x.shape[axis + 1 :])
    size = half - len(weights) // 2 + 1
    terms = []
    for k, weight in enumerate(weights):
        phase = jax.lax.index_in_dim(pairs, k % 2, axis + 1, keepdims=False)
        terms.append(weight * jax.lax.slice_in_dim(phase, k // 2, k // 2 + size, axis=axis))
    return sum(terms[1:], terms[0])


def _filter_up(x: jax.Array, weights: list[float], axis: int) -> jax.Array:
    """`out[o] = sum_i x[i] weights[o + padding - 2 i]`, even and odd o apart."""
    size, margin, padding = x.shape[axis], len(weights) // 2, len(weights) // 2 - 1
    x = _padded(x, margin, axis)
    phases = []
    for odd in (0, 1):
        terms = []
        # Only every other weight meets a pixel; the rest meet the zeros between them.
        for k in range((odd + padding) % 2, len(weights), 2):
            start = margin + (odd + padding - k) // 2
            terms.append(weights[k] * jax.lax.slice_in_dim(x, start, start + size, axis=axis))
        phases.append(sum(terms[1:], terms[0]))
    pairs = jnp.stack(phases, axis=axis + 1)
    return pairs.reshape(*x.shape[:axis], 2 * size, *x.shape[axis + 1 :])


def _padded(x: jax.Array, padding: int, axis: int) -> jax.Array:
    return jnp.pad(x, [(padding, padding) if i == axis else (0, 0) for i in range(x.ndim)])
