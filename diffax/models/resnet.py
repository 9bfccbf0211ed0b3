"""The residual network for CIFAR (He et al. 2015, section 4.2), as a classifier that is read."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp

from diffax.models import fields
from diffax.models.blocks.convolution import Conv
from diffax.models.blocks.normalization import BatchNorm
from diffax.models.features import Features

_SAME = ((1, 1), (1, 1))  # also at stride 2, where PyTorch's border is not XLA's "SAME"


class _Block(nn.Module):
    """Two convolutions and a shortcut without parameters (option A)."""

    channels: int
    stride: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        h = _convolution(x, self.channels, self.stride, "conv1")
        h = nn.relu(BatchNorm(name="bn1")(h))
        h = BatchNorm(name="bn2")(_convolution(h, self.channels, 1, "conv2"))
        return nn.relu(h + _shortcut(x, self.channels, self.stride))


def _convolution(x: jax.Array, channels: int, stride: int, name: str) -> jax.Array:
    return Conv(channels, (3, 3), (stride, stride), _SAME, use_bias=False, name=name)(x)


def _shortcut(x: jax.Array, channels: int, stride: int) -> jax.Array:
    """Every `stride`-th pixel, and zeros for the new channels: as many before as after."""
    more = (channels - x.shape[-1]) // 2
    return jnp.pad(x[:, ::stride, ::stride], ((0, 0), (0, 0), (0, 0), (more, more)))


class CIFARResNet(nn.Module):
    """A residual network of 6 n + 2 layers with three widths: ResNet-20, -32, -44, -56, -110.

    Attributes:
        blocks: residual blocks of each width, n.
        classes: of the last layer.
        mean, std: of the channels, in [0, 1], by which images are standardised.

    Example:
        >>> images = jnp.zeros((1, 32, 32, 3), jnp.uint8)
        >>> network = CIFARResNet()
        >>> features, variables = network.init_with_output(jax.random.key(0), images)
        >>> features.pooled.shape, features.logits.shape
        ((1, 64), (1, 10))
    """

    blocks: int = 3
    classes: int = 10
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)

    def __post_init__(self) -> None:
        fields.whole(self, "blocks", high=fields.MOST_LAYERS)
        fields.whole(self, "classes")
        super().__post_init__()

    @nn.compact
    def __call__(self, images: jax.Array) -> Features:
        """The features of images.

        Args:
            images: uint8 `[B, H, W, 3]`; made for 32 x 32.

        Returns:
            `Features` with pooled `[B, 64]` and logits `[B, classes]`.

        Raises:
            ValueError: another number of channels.
        """
        if images.ndim != 4 or images.shape[-1] != len(self.mean):
            raise ValueError(
                f"expected images [B, H, W, {len(self.mean)}], got shape {images.shape}"
            )
        mean, std = (jnp.asarray(v).reshape(1, 1, 1, -1) for v in (self.mean, self.std))
        x = (images.astype(jnp.float32) / 255 - mean) / std
        x = nn.relu(BatchNorm(name="bn1")(_convolution(x, 16, 1, "conv1")))
        for level, channels in enumerate((16, 32, 64), start=1):
            for i in range(self.blocks):
                stride = 2 if level > 1 and i == 0 else 1
                x = _Block(channels, stride, name=f"layer{level}_{i}")(x)
        pooled = x.mean(axis=(1, 2))
        return Features(pooled, nn.Dense(self.classes, name="linear")(pooled))
