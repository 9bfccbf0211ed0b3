"""The diffusion transformer, DiT and SiT (Peebles & Xie 2023; Ma et al. 2024)."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

import flax.linen as nn
import jax

from diffax.models import fields
from diffax.models.blocks.embeddings import (
    TimestepEmbedding,
    grid_embedding,
    sinusoidal_embedding,
)
from diffax.models.blocks.initializers import Initializer
from diffax.models.blocks.joint import JointBlock
from diffax.models.blocks.modulated import ModulatedBlock, modulated, modulation
from diffax.models.blocks.style import Style
from diffax.models.condition import NOTHING, Condition, check_images, checked, labels, sized

# The sizes of the paper's table 1.
SIZES: dict[str, dict[str, Any]] = {
    "S": {"features": 384, "depth": 12, "num_heads": 6},
    "B": {"features": 768, "depth": 12, "num_heads": 12},
    "L": {"features": 1024, "depth": 24, "num_heads": 16},
    "XL": {"features": 1152, "depth": 28, "num_heads": 16},
}


def _xavier(scale: float = 1.0, **axes: Any) -> Initializer:
    return nn.initializers.variance_scaling(scale, "fan_avg", "uniform", **axes)


_SMALL = nn.initializers.normal(0.02)


class DiT(nn.Module):
    """A transformer over the patches of an image or a latent, steered by time and label.

    The defaults are DiT-S/2 without classes; `DiT.of_size("XL", patch_size=2, num_classes=1000,
    learned_variance=True)` on latents `[B, 32, 32, 4]` is the paper's DiT-XL/2: 674,834,720
    parameters (and a table of fixed positions, which is computed here, of 294,912 more). SiT is
    the same network with times in [0, 1]. Images of any height and width, also of more than one
    in a run, are cut into patches; positions are numbered from the upper left corner.

    Attributes:
      patch_size: pixels on each side of a patch; height and width must be divisible by it.
      features: width of a token, a multiple of 4 and of `num_heads`.
      depth: number of transformer blocks.
      num_heads: attention heads.
      num_classes: labels are 0 ... num_classes - 1, and num_classes is the null label; None for a
        network without classes.
      context_size: K of the tokens `[B, L, K]`, such as a text encoder's, that every block looks
        at by cross-attention (PixArt-alpha, Chen et al. 2024); None for a network without.
      joint: instead of cross-attention, the tokens of the context are a second stream, and one
        attention runs over both (MMDiT of Stable Diffusion 3, Esser et al. 2024).
      out_channels: channels of the output; None for as many as the input has.
      learned_variance: twice the output channels, the second half to be read as a variance.
      time_scale: multiplies t before the embedding: 1 in DiT, whose times are 0 ... 999, and in
        SiT, whose times are in [0, 1]; 1000 / T for T steps.
      remat: recompute the activations of each block in the backward pass: less memory, about a
        third more time.
      dtype: "float32" or "bfloat16", of the computation. Parameters, embeddings, norms, softmax
        and the last map are float32 in either case.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from diffax.models import DiT
      >>> model = DiT(features=32, depth=2, num_heads=2, num_classes=10)
      >>> x, t = jnp.zeros((2, 8, 12, 3)), jnp.array([0.0, 999.0])
      >>> condition = {"label": jnp.array([3, 10])}
      >>> init = model.init_with_output  # its shapes alone: nothing is computed
      >>> out, params = jax.eval_shape(init, jax.random.key(0), x, t, condition)
      >>> out.shape
      (2, 8, 12, 3)
    """

    patch_size: int = 2
    features: int = 384
    depth: int = 12
    num_heads: int = 6
    num_classes: int | None = None
    context_size: int | None = None
    joint: bool = False
    out_channels: int | None = None
    learned_variance: bool = False
    time_scale: float = 1.0
    remat: bool = False
    dtype: Literal["float32", "bfloat16"] = "float32"

    @classmethod
    def of_size(cls, name: Literal["S", "B", "L", "XL"], **others: Any) -> DiT:
        """A network of one of the paper's sizes.

        Args:
          name: "S", "B", "L" or "XL".
          **others: the other fields, such as `patch_size`: 2, 4 or 8 in the paper.

        Raises:
          ValueError: there is no such size.

        Example:
          >>> DiT.of_size("B", patch_size=4).features
          768
        """
        if name not in SIZES:
            raise ValueError(f"DiT.of_size: expected one of {', '.join(SIZES)}, got {name!r}")
        return cls(**SIZES[name], **others)

    def __post_init__(self) -> None:
        fields.whole(self, "patch_size", "num_heads")
        fields.whole(self, "features", low=8)
        fields.whole(self, "depth", high=fields.MOST_LAYERS)
        fields.whole(self, "num_classes", high=fields.MOST_ROWS, optional=True)
        fields.whole(self, "context_size", "out_channels", optional=True)
        fields.number(self, "time_scale")
        fields.one_of(self, dtype=("float32", "bfloat16"))
        if self.features % self.num_heads or self.features % 4:
            raise ValueError(
                f"DiT.features: expected a multiple of 4 and of num_heads {self.num_heads}, got "
                f"{self.features}"
            )
        if self.joint and self.context_size is None:
            raise ValueError("DiT.joint: expected a context to attend jointly; set context_size")
        super().__post_init__()

    @property
    def reads(self) -> tuple[str, ...]:
        """Names of what it can be told."""
        told = {"label": self.num_classes, "context": self.context_size}
        return tuple(name for name, size in told.items() if size is not None)

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        t: jax.Array,
        condition: Condition = NOTHING,
        *,
        train: bool = False,
    ) -> jax.Array:
        """Apply the network.

        Args:
          x: `[B, H, W, C]`, H and W divisible by patch_size.
          t: `[B]`, times.
          condition: what the fields ask for: "label" int `[B]` (without it, the null label for
            every image), "context" `[B, L, context_size]`.
          train: makes no difference.

        Returns:
          `[B, H, W, out_channels]`, float32.

        Raises:
          ValueError: a size that cannot be cut into patches, or a condition with names that the
            network does not read, or without one that it needs.
        """
        check_images(self, x, t, self.patch_size, "for patch_size is the side of a patch")
        condition = checked(self, condition, x.shape[0], self.reads[self.num_classes is not None :])
        style = Style(
            remat=self.remat,
            dtype=self.dtype,
            kernel_init=_xavier(),
            out_init=_xavier(),
            qkv_init=_xavier(0.5),  # as one matrix of three times the width
        )
        exact = dataclasses.replace(style, dtype="float32")
        vector = self._embed(t, condition, exact)
        context = None
        if self.context_size is not None:
            context = sized(self, condition, "context", 3, self.context_size)
            context = self._embed_context(context, style)

        tokens = self._patches(x, style)
        if self.joint and context is not None:
            block = nn.remat(JointBlock) if self.remat else JointBlock
            for i in range(self.depth):
                last = i == self.depth - 1
                joint = block(style, self.num_heads, last, name=f"blocks_{i}")
                tokens, context = joint(tokens, context, vector)
        else:
            block = nn.remat(ModulatedBlock) if self.remat else ModulatedBlock
            for i in range(self.depth):
                tokens = block(style, self.num_heads, name=f"blocks_{i}")(tokens, vector, context)
        return _Out(exact, self.patch_size, self._channels(x), name="final_layer")(
            tokens, vector, x.shape
        )

    def _channels(self, x: jax.Array) -> int:
        return (self.out_channels or x.shape[-1]) * (2 if self.learned_variance else 1)

    def _embed(self, t: jax.Array, condition: Condition, style: Style) -> jax.Array:
        """Time and label as one float32 vector `[B, features]`."""
        style = dataclasses.replace(style, kernel_init=_SMALL)
        waves = sinusoidal_embedding(t * self.time_scale, 256, flip_sin_to_cos=True, freq_shift=0)
        vector = TimestepEmbedding(style, self.features, name="time_embedding")(waves)
        if self.num_classes is None:
            return vector
        table = style.embed(self.num_classes + 1, self.features, "class_embedding", _SMALL)
        return vector + table(labels(condition, t.shape[0], self.num_classes))

    def _embed_context(self, context: jax.Array, style: Style) -> jax.Array:
        style = dataclasses.replace(style, kernel_init=_SMALL)
        h = nn.gelu(style.dense(self.features, "context_1")(context))
        return style.dense(self.features, "context_2")(h)

    def _patches(self, x: jax.Array, style: Style) -> jax.Array:
        """One token a patch `[B, N, features]`, which knows its place."""
        size = self.patch_size
        cut = style.conv(
            self.features,
            "patches",
            size=size,
            stride=size,
            padding="VALID",
            kernel_init=_xavier(in_axis=(0, 1, 2), out_axis=3),
        )
        tokens = cut(x)
        batch, rows, columns, _ = tokens.shape
        places = grid_embedding(rows, columns, self.features).astype(tokens.dtype)
        return tokens.reshape(batch, -1, self.features) + places[None, :, :]


class _Out(nn.Module):
    """Every token becomes a patch `[size, size, channels]`, beginning with zeros."""

    style: Style
    size: int
    channels: int

    @nn.compact
    def __call__(self, tokens: jax.Array, vector: jax.Array, shape: tuple[int, ...]) -> jax.Array:
        style, size = self.style, self.size
        shift, scale = modulation(vector, 2, tokens.shape[-1], style)
        h = modulated(tokens, shift, scale, style)
        zero = nn.initializers.zeros
        patches = style.dense(size * size * self.channels, "linear", kernel_init=zero)(h)
        batch, height, width, _ = shape
        grid = (batch, height // size, width // size, size, size, self.channels)
        image = patches.reshape(grid).swapaxes(2, 3)
        return image.reshape(batch, height, width, self.channels)
