"""A linear map of the channels."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from diffax.models.blocks.initializers import Initializer, fan_in_bias
from diffax.models.blocks.param import param


class Dense(nn.Module):
    """A linear map with `nn.Dense`'s parameters: `kernel` and `bias`.

    Attributes:
        features: output channels.
        use_bias: add a learned constant per channel.
        dtype: of the computation.
        param_dtype: of the parameters.
        kernel_init: initialiser of the kernel.
        fan_in_bias: the bias begins as PyTorch's does, within 1 / sqrt(fan-in), and not at zero.
    """

    features: int
    use_bias: bool = True
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32
    kernel_init: Initializer = nn.initializers.lecun_normal()
    fan_in_bias: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """A linear map of `[..., C]` to `[..., features]`, in `dtype`."""
        shape = (x.shape[-1], self.features)
        kernel = param(self, "kernel", self.kernel_init, shape, self.param_dtype)
        bias = None
        if self.use_bias:
            init = fan_in_bias(shape) if self.fan_in_bias else nn.initializers.zeros
            bias = param(self, "bias", init, (self.features,), self.param_dtype)
        return _mapped(x.astype(self.dtype), kernel, bias)


@jax.jit  # traced once for layers of the same shapes
def _mapped(x: jax.Array, kernel: jax.Array, bias: jax.Array | None) -> jax.Array:
    y = x @ kernel.astype(x.dtype)
    return y if bias is None else y + bias.astype(x.dtype).reshape((1,) * (y.ndim - 1) + (-1,))
