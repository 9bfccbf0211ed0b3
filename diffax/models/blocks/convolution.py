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

Padding = tuple[tuple[int, int], tuple[int, int]]


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
    pads = (tuple(top_bottom), tuple(left_right))
    if kernel.shape[:2] == tuple(strides) and pads == ((0, 0), (0, 0)):
        return _patches(x, strides) @ kernel.reshape(-1, kernel.shape[-1])
    # Other back ends recognise autodiff's own forms and have kernels of their own for them.
    convolve = _cpu_conv if jax.default_backend() == "cpu" else _conv
    return convolve(x, kernel, tuple(strides), pads)


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
    def __call__(self, x: jax.Array) -> jax.Array:
        """Convolve `[B, H, W, C]`; returns `[B, H', W', features]` in `dtype`."""
        shape = (*self.kernel_size, x.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape, self.param_dtype)
        y = conv2d(x.astype(self.dtype), kernel.astype(self.dtype), self.strides, self.padding)
        if self.use_bias:
            init = fan_in_bias(shape) if self.fan_in_bias else nn.initializers.zeros
            bias = self.param("bias", init, (self.features,), self.param_dtype)
            y = y + bias.astype(self.dtype)[None, None, None, :]
        return y
