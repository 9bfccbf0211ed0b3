"""Where in its bin a rounded number may have lain, guessed from its neighbours."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp

from diffax.models import fields
from diffax.models.blocks.convolution import Conv


class Dequantizer(nn.Module):
    """Two convolutions that look at an image and give two numbers for each of its entries.

    Attributes:
        width: channels between the two.

    Example:
        >>> images = jnp.zeros((1, 4, 4, 3))
        >>> (shift, log_scale), params = Dequantizer().init_with_output(jax.random.key(0), images)
        >>> shift.shape, float(jnp.abs(log_scale).max())
        ((1, 4, 4, 3), 0.0)
    """

    width: int = 32

    def __post_init__(self) -> None:
        fields.whole(self, "width")
        super().__post_init__()

    @nn.compact
    def __call__(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Shift and log-scale, both `[B, H, W, C]`, for images in [-1, 1]; both begin as zeros."""
        h = nn.silu(Conv(self.width, (3, 3), name="conv_in")(x))
        zero = nn.initializers.zeros
        both = Conv(2 * x.shape[-1], (3, 3), kernel_init=zero, name="conv_out")(h)
        shift, log_scale = jnp.split(both, 2, axis=-1)
        return shift, log_scale
