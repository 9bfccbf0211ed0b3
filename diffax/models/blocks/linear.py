"""A linear map whose bias begins where PyTorch's does."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from diffax.models.blocks.initializers import Initializer, fan_in_bias


class FanInDense(nn.Module):
    """`nn.Dense`, its bias beginning uniformly within 1 / sqrt(fan-in).

    Attributes:
        features: output channels.
        kernel_init: initialiser of the kernel.
        dtype: of the computation.
        param_dtype: of the parameters.
    """

    features: int
    kernel_init: Initializer
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """A linear map of `[..., C]` to `[..., features]`."""
        shape = (x.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape, self.param_dtype)
        bias = self.param("bias", fan_in_bias(shape), shape[-1:], self.param_dtype)
        y = x.astype(self.dtype) @ kernel.astype(self.dtype)
        return y + bias.astype(self.dtype).reshape((1,) * (y.ndim - 1) + (-1,))
