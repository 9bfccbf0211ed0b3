"""A perceptual distance: features of VGG-16, weighed as people judge (Zhang et al. 2018)."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from diffax.models.blocks.convolution import Conv
from diffax.models.blocks.resampling import max_pool

# Widths of VGG-16's convolutions (Simonyan & Zisserman 2015, configuration D), by level.
LEVELS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
# ImageNet's mean and standard deviation, for images in [-1, 1].
_MEAN = np.array([-0.030, -0.088, -0.188], np.float32)
_STD = np.array([0.458, 0.448, 0.450], np.float32)
_SMALL = 1e-10


class LPIPSNetwork(nn.Module):
    """The distance of two images, `[B]`: 0 where they look the same.

    Attributes:
        levels: widths of each level's convolutions; halved between levels.

    Example:
        >>> model = LPIPSNetwork(levels=((4,), (8,)))
        >>> x = jnp.zeros((1, 8, 8, 3))
        >>> model.apply(model.init(jax.random.key(0), x, x), x, x).shape
        (1,)
    """

    levels: tuple[tuple[int, ...], ...] = LEVELS

    @nn.compact
    def __call__(self, a: jax.Array, b: jax.Array) -> jax.Array:
        """Distances of images `[B, H, W, 3]` (or of one channel) in [-1, 1]; float32 `[B]`."""
        x = (jnp.concatenate([a, b]) - _MEAN[None, None, None]) / _STD[None, None, None]
        distance = jnp.zeros(len(a))
        for i, widths in enumerate(self.levels):
            if i > 0:  # an odd last row or column is left out
                x = max_pool(x[:, : x.shape[1] // 2 * 2, : x.shape[2] // 2 * 2])
            for j, width in enumerate(widths):
                x = nn.relu(Conv(width, name=f"conv_{i}_{j}")(x))
            length = jnp.sqrt(jnp.sum(x**2, axis=-1, keepdims=True))
            first, second = jnp.split(x / (length + _SMALL), 2)
            head = self.param(f"head_{i}", nn.initializers.ones, (x.shape[-1],))
            each = jnp.sum((first - second) ** 2 * head[None, None, None], axis=-1)
            distance += jnp.mean(each, axis=(1, 2), dtype=jnp.float32)
        return distance
