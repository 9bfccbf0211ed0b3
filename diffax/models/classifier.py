"""A small classifier, for data that no published network knows."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp

from diffax.models import fields
from diffax.models.blocks.convolution import Conv
from diffax.models.features import Features

_SMALLEST = 4  # pixels of a side from which on images are not halved any more


class SmallClassifier(nn.Module):
    """Convolutions that halve images down to 4 pixels, or two layers for vectors; then features.

    Attributes:
        classes: of the last layer.
        width: of the features and of the last convolutions.
        mean, std: of vectors' coordinates, by which they are standardised; empty for images.

    Example:
        >>> network = SmallClassifier(classes=10)
        >>> images = jnp.zeros((1, 8, 8, 1), jnp.uint8)
        >>> features, _ = network.init_with_output(jax.random.key(0), images)
        >>> features.pooled.shape, features.logits.shape
        ((1, 64), (1, 10))
    """

    classes: int
    width: int = 64
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        fields.whole(self, "classes", "width")
        super().__post_init__()

    @nn.compact
    def __call__(self, examples: jax.Array) -> Features:
        """The features of examples.

        Args:
            examples: uint8 images `[B, H, W, C]`, or vectors `[B, D]` where there is a mean.

        Returns:
            `Features` with pooled `[B, width]` and logits `[B, classes]`.

        Raises:
            ValueError: examples of another kind.
        """
        if (examples.ndim != 2) if self.mean else (examples.ndim != 4):
            kind = f"vectors [B, {len(self.mean)}]" if self.mean else "images [B, H, W, C]"
            raise ValueError(f"expected {kind}, got shape {examples.shape}")
        h = self._vectors(examples) if self.mean else self._images(examples)
        pooled = nn.relu(nn.Dense(self.width, name="features")(h))
        return Features(pooled, nn.Dense(self.classes, name="head")(pooled))

    def _vectors(self, x: jax.Array) -> jax.Array:
        mean, std = (jnp.asarray(v)[None] for v in (self.mean, self.std))
        return nn.relu(nn.Dense(self.width, name="hidden")((x - mean) / std))

    def _images(self, images: jax.Array) -> jax.Array:
        h = images.astype(jnp.float32) / 127.5 - 1
        h = nn.relu(Conv(self.width // 2, name="conv0")(h))
        level = 0
        while min(h.shape[1:3]) > _SMALLEST:
            level += 1
            h = nn.relu(Conv(self.width, strides=(2, 2), name=f"conv{level}")(h))
        return h.reshape(len(h), -1)
