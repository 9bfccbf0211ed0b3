"""The discriminator that looks at patches (Isola et al. 2017, section 3.2.2)."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp

from diffax.models import fields
from diffax.models.blocks.style import Style

_SLOPE = 0.2


class PatchDiscriminator(nn.Module):
    """Answers `[B, h, w, 1]`, one number a patch: how much it looks like data.

    Groups are normalised where the paper normalises batches: an answer depends on its image alone,
    and there are no running statistics.

    Attributes:
        channels: width of the first layer; doubled with every halving, up to eight times.
        layers: halvings of the image; three look at patches of 70 x 70 pixels.

    Example:
        >>> model = PatchDiscriminator(channels=8, layers=2)
        >>> x = jnp.zeros((1, 16, 16, 3))
        >>> model.apply(model.init(jax.random.key(0), x), x).shape
        (1, 4, 4, 1)
    """

    channels: int = 64
    layers: int = 3

    def __post_init__(self) -> None:
        fields.whole(self, "channels", low=4)
        fields.whole(self, "layers", high=fields.MOST_LEVELS)
        super().__post_init__()

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Answers to images `[B, H, W, C]` in [-1, 1]; float32."""
        style = Style(kernel_init=nn.initializers.normal(0.02))
        x = nn.leaky_relu(style.conv(self.channels, "conv_in", size=4, stride=2)(x), _SLOPE)
        for i in range(1, self.layers + 1):
            width = self.channels * min(2**i, 8)
            stride = 2 if i < self.layers else 1
            x = style.conv(width, f"conv_{i}", size=4, stride=stride)(x)
            x = nn.leaky_relu(style.norm(f"norm_{i}")(x), _SLOPE)
        return style.conv(1, "conv_out", size=4)(x).astype(jnp.float32)
