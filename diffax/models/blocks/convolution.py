"""A 2-D convolution whose gradients stay fast inside `lax.scan` on CPU.

XLA's CPU back end runs a convolution well only when its operands lie in the canonical order NHWC
and HWIO. The pass that brings others to that order looks at the entry computation alone, so inside
a loop body the convolutions that autodiff writes (`f01b_i01o->01bf` and the like) fall to a naive
emitter, 10 to 90 times slower.

The remedy is to write the *tangent* map so that its transpose is canonical. Both terms of

    d conv(x, k) = conv(dx, k) + conv(x, dk)

are ordinary convolutions with permuted operands, the permutation chosen such that `lax`'s own
transpose rule turns them into NHWC/HWIO convolutions. They are written with nothing but `lax`
operations, so every transformation still composes: forward mode, reverse mode, any order, `vmap`.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_derivatives import SymbolicZero

from diffax.models.blocks.initializers import fan_in_bias
from diffax.models.blocks.param import param

Padding = tuple[tuple[int, int], tuple[int, int]]

# Which of a kernel's three rows show the same row of an image whose pixels are repeated: by the
# row's parity and, of the two rows seen, the first or the second.
_ADDED = (((1, 0, 0), (0, 1, 1)), ((1, 1, 0), (0, 0, 1)))
_WORTH_ADDING = 1024  # pixels; to add a kernel's weights costs as much as this many products


def conv2d(
    x: jax.Array,
    kernel: jax.Array,
    strides: tuple[int, int] = (1, 1),
    padding: str | Sequence[tuple[int, int]] = "SAME",
) -> jax.Array:
    """Convolve images with a kernel; the same values and gradients as `lax.conv_general_dilated`.

    Args:
      x: `[B, H, W, C_in]`.
      kernel: `[h, w, C_in, C_out]`, of x's dtype.
      strides: rows and columns to move by.
      padding: "SAME", "VALID" or `((top, bottom), (left, right))` in pixels.

    Returns:
      `[B, H', W', C_out]`.

    Raises:
      ValueError: the channels of x and the kernel differ.
    """
    if x.ndim != 4 or kernel.ndim != 4 or x.shape[-1] != kernel.shape[2]:
        raise ValueError(
            f"conv2d: expected x [B, H, W, C] and kernel [h, w, C, C_out], got {x.shape} and "
            f"{kernel.shape}; give both the same C"
        )
    if isinstance(padding, str):
        padding = lax.padtype_to_pads(x.shape[1:3], kernel.shape[:2], strides, padding)
    top_bottom, left_right = padding
    strides, pads = tuple(strides), (tuple(top_bottom), tuple(left_right))
    if kernel.shape[:2] == strides and pads == ((0, 0), (0, 0)):
        return _patches(x, strides) @ kernel.reshape(-1, kernel.shape[-1])
    # Other back ends recognise autodiff's own forms and have kernels of their own for them.
    if jax.default_backend() != "cpu":
        return _conv(x, kernel, strides, pads)
    return _cpu_conv(x, kernel, strides, pads)


def conv2d_doubled(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """`conv2d(upsample_nearest(x), kernel)`, in less than half of the products on CPUs.

    Of the three rows that a kernel sees two show the same row of x, and of the three columns two
    the same column: with their weights added, each of the four pixels that a pixel becomes is a
    2 x 2 convolution of x (sub-pixel convolution, Shi et al. 2016).

    Args:
      x: `[B, H, W, C_in]`.
      kernel: `[3, 3, C_in, C_out]`, of x's dtype.

    Returns:
      `[B, 2 H, 2 W, C_out]`.
    """
    batch, height, width, _ = x.shape
    if jax.default_backend() != "cpu" or batch * height * width < _WORTH_ADDING:
        return conv2d(upsample_nearest(x), kernel)
    add = jnp.asarray(_ADDED, kernel.dtype)
    kernels = jnp.einsum("pai,qbj,ijco->pqabco", add, add, kernel)

    def pixels(p: int, q: int) -> jax.Array:
        return conv2d(x, kernels[p, q], padding=((1 - p, p), (1 - q, q)))

    rows = [jnp.stack([pixels(p, 0), pixels(p, 1)], axis=3) for p in (0, 1)]
    return jnp.stack(rows, axis=2).reshape(batch, 2 * height, 2 * width, -1)


def upsample_nearest(x: jax.Array) -> jax.Array:
    """Repeat every pixel as a 2 x 2 square: `[B, H, W, C]` to `[B, 2H, 2W, C]`."""
    batch, height, width, channels = x.shape
    squares = jnp.broadcast_to(x[:, :, None, :, None, :], (batch, height, 2, width, 2, channels))
    return squares.reshape(batch, 2 * height, 2 * width, channels)


def _patches(x: jax.Array, size: tuple[int, int]) -> jax.Array:
    """Neighbouring patches, `[B, H // h, W // w, h * w * C]`; what is left over is cut off."""
    (h, w), (batch, height, width, channels) = size, x.shape
    rows, columns = height // h, width // w
    tiles = x[:, : rows * h, : columns * w].reshape(batch, rows, h, columns, w, channels)
    return tiles.swapaxes(2, 3).reshape(batch, rows, columns, h * w * channels)


def _conv(
    x: jax.Array,
    kernel: jax.Array,
    strides: tuple[int, int],
    padding: Padding,
    layout: tuple[str, str, str] = ("NHWC", "HWIO", "NHWC"),
) -> jax.Array:
    return lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=layout)


@functools.partial(jax.custom_jvp, nondiff_argnums=(2, 3))
def _cpu_conv(
    x: jax.Array, kernel: jax.Array, strides: tuple[int, int], padding: Padding
) -> jax.Array:
    return _conv(x, kernel, strides, padding)


@functools.partial(_cpu_conv.defjvp, symbolic_zeros=True)
def _cpu_conv_jvp(
    strides: tuple[int, int],
    padding: Padding,
    primals: tuple[jax.Array, jax.Array],
    tangents: tuple[Any, Any],
) -> tuple[jax.Array, jax.Array]:
    x, kernel = primals
    dx, dkernel = tangents
    terms = []
    if not isinstance(dx, SymbolicZero):
        # Transposed: the cotangent (NHWC) convolved with the flipped kernel (HWIO).
        swapped = kernel.transpose(0, 1, 3, 2)
        terms.append(_conv(dx, swapped, strides, padding, ("NHWC", "HWOI", "NHWC")))
    if not isinstance(dkernel, SymbolicZero):
        # Transposed: x as "NHWC" with channels for batch and batch for channels, convolved with
        # the cotangent as "HWIO" with the batch for its input channels.
        x_chwn = x.transpose(3, 1, 2, 0)
        dkernel_ihwo = dkernel.transpose(2, 0, 1, 3)
        dy_hwnc = _conv(x_chwn, dkernel_ihwo, strides, padding, ("CHWN", "IHWO", "HWNC"))
        terms.append(dy_hwnc.transpose(2, 0, 1, 3))
    return _cpu_conv(x, kernel, strides, padding), sum(terms[1:], terms[0])


class Conv(nn.Module):
    """Two-dimensional convolution with `nn.Conv`'s parameters: `kernel` and `bias`.

    Attributes:
      features: output channels.
      kernel_size: rows and columns.
      strides: rows and columns to move by.
      padding: "SAME", "VALID" or pixels `((top, bottom), (left, right))`.
      use_bias: add a learned constant per channel.
      dtype: of the computation.
      param_dtype: of the parameters.
      kernel_init: initialiser of the kernel.
      fan_in_bias: the bias begins as PyTorch's does, within 1 / sqrt(fan-in), and not at zero.
    """

    features: int
    kernel_size: tuple[int, int] = (3, 3)
    strides: tuple[int, int] = (1, 1)
    padding: str | Sequence[tuple[int, int]] = "SAME"
    use_bias: bool = True
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32
    kernel_init: Callable[..., jax.Array] = nn.initializers.lecun_normal()
    fan_in_bias: bool = False

    @nn.compact
    def __call__(self, x: jax.Array, *, doubled: bool = False) -> jax.Array:
        """Convolve `[B, H, W, C]`, or such images with every pixel repeated as a 2 x 2 square.

        Returns `[B, H', W', features]` in `dtype`.
        """
        shape = (*self.kernel_size, x.shape[-1], self.features)
        kernel = param(self, "kernel", self.kernel_init, shape, self.param_dtype)
        bias = None
        if self.use_bias:
            init = fan_in_bias(shape) if self.fan_in_bias else nn.initializers.zeros
            bias = param(self, "bias", init, (self.features,), self.param_dtype)
        x = x.astype(self.dtype)
        if doubled:
            return _convolved(x, kernel, bias)
        padding = self.padding if isinstance(self.padding, str) else tuple(map(tuple, self.padding))
        return _convolved(x, kernel, bias, self.strides, padding)


@functools.partial(jax.jit, static_argnums=(3, 4))  # traced once for layers of the same shapes
def _convolved(
    x: jax.Array,
    kernel: jax.Array,
    bias: jax.Array | None,
    strides: tuple[int, int] | None = None,
    padding: Any = None,
) -> jax.Array:
    """The layer's result in x's dtype; without strides that of images with every pixel repeated."""
    kernel = kernel.astype(x.dtype)
    y = conv2d_doubled(x, kernel) if strides is None else conv2d(x, kernel, strides, padding)
    return y if bias is None else y + bias.astype(x.dtype)[None, None, None, :]
