"""Down, middle and up blocks of U-Nets and autoencoders: residual blocks with attention.

Submodules carry the names of the published state dicts (`resnets_0`, `attentions_0`,
`downsamplers_0`), so that converting a checkpoint is one rule instead of a table.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from diffax.models.blocks.attention import Attention, Prompted
from diffax.models.blocks.resampling import Downsample, Upsample, average_pool, max_pool
from diffax.models.blocks.residual import ResidualBlock, added
from diffax.models.blocks.style import Style
from diffax.models.blocks.transformer import SpatialTransformer, TutorialBlock

POOLS = {"average": average_pool, "max": max_pool}


def attends(network: Any, block: str, sides: tuple[int, int], part: str = "attentions_") -> bool:
    """Whether a level of a network attends.

    When a network is made, or asked from outside, where either side of the level's map is in its
    `attention_resolutions`; ever after where it was made so, whatever the size of the images, such
    as those of other shapes in buckets.

    Args:
        network: with `attention_resolutions`.
        block: the name of a block of the level.
        sides: height and width of the level's map.
        part: how the names of attentions in the block begin.
    """
    if network.scope is None or network.is_initializing():
        return bool(set(sides) & set(network.attention_resolutions))
    own = network.variables["params"].get(block, {})
    return any(name.startswith(part) for name in own)


@dataclasses.dataclass(frozen=True)
class SelfSpec:
    """One layer's attention over its own pixels.

    Attributes:
        heads: number of heads.
        groups: groups of the GroupNorm before it; None for no norm.
    """

    heads: int
    groups: int | None


@dataclasses.dataclass(frozen=True)
class CrossSpec:
    """One layer's spatial transformer with a context (a text).

    Attributes:
        heads: number of heads.
        depth: number of transformer blocks.
        linear_projection: see `SpatialTransformer`.
        only_cross_attention: see `SpatialTransformer`.
    """

    heads: int
    depth: int = 1
    linear_projection: bool = False
    only_cross_attention: bool = False


@dataclasses.dataclass(frozen=True)
class TutorialSpec:
    """One layer's `TutorialBlock`.

    Attributes:
        heads: number of heads.
    """

    heads: int


AttentionSpec = SelfSpec | CrossSpec | TutorialSpec | None


def residual(style: Style, features: int, name: str, **options: Any) -> ResidualBlock:
    """A residual block, recomputed in the backward pass where the style says so."""
    # `train` (the third argument after the module itself) is a Python bool.
    block = nn.remat(ResidualBlock, static_argnums=(3,)) if style.remat else ResidualBlock
    return block(style, features, name=name, **options)


def _attended(
    style: Style,
    spec: AttentionSpec,
    name: str,
    x: jax.Array,
    context: jax.Array | Prompted | None,
    rescale: float = 1.0,
) -> jax.Array:
    """`x` after the attention of a layer."""

    def block(kind: type[nn.Module], *options: Any) -> nn.Module:
        return (nn.remat(kind) if style.remat else kind)(style, *options, name=name)

    match spec:
        case None:
            return x
        case SelfSpec():
            return added(x, block(Attention, spec.heads, spec.groups)(x), rescale)
        case TutorialSpec():
            return block(TutorialBlock, spec.heads)(x)
        case CrossSpec():
            shape = (spec.heads, spec.depth, spec.linear_projection, spec.only_cross_attention)
            return block(SpatialTransformer, *shape)(x, context)


class DownBlock(nn.Module):
    """Residual (and attention) layers, then a downsampling.

    Attributes:
        style: see `Style`.
        features: output channels.
        attentions: one spec (or None) a layer; their number is the number of layers.
        resample: "conv", "max", "average", "resnet" or None (the last block).
        padding: of the downsampling convolution; see `Downsample`.
        rescale: every residual sum is divided by this.
    """

    style: Style
    features: int
    attentions: tuple[AttentionSpec, ...]
    resample: str | None = None
    padding: int = 1
    rescale: float = 1.0

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        temb: jax.Array | None = None,
        context: jax.Array | Prompted | None = None,
        train: bool = False,
        extra: jax.Array | None = None,
    ) -> tuple[jax.Array, list[jax.Array]]:
        """Returns the output and every layer's output, for the up path.

        `extra` is added to the last layer before the downsampling where there is attention, else
        to the output, as T2I-Adapters were trained.
        """
        attended = any(spec is not None for spec in self.attentions)
        skips, sums = [], {"rescale": self.rescale}
        for i, spec in enumerate(self.attentions):
            x = residual(self.style, self.features, f"resnets_{i}", **sums)(x, temb, train)
            x = _attended(self.style, spec, f"attentions_{i}", x, context, self.rescale)
            if extra is not None and attended and i == len(self.attentions) - 1:
                x = x + extra.astype(x.dtype)
            skips.append(x)
        if self.resample == "conv":
            x = Downsample(self.style, self.padding, name="downsamplers_0")(x)
            skips.append(x)
        elif self.resample == "resnet":
            down = residual(self.style, self.features, "downsamplers_0", resample="down", **sums)
            x = down(x, temb, train)
            skips.append(x)
        elif self.resample is not None:
            x = POOLS[self.resample](x)
            skips.append(x)
        if extra is not None and not attended:
            x = x + extra.astype(x.dtype)
            skips[-1] = x
        return x, skips


class MidBlock(nn.Module):
    """A residual layer, then attention and a residual layer for each spec.

    Attributes:
        style: see `Style`.
        attentions: specs; None in it keeps the residual layer without attention.
        rescale: every residual sum is divided by this.
    """

    style: Style
    attentions: tuple[AttentionSpec, ...]
    rescale: float = 1.0

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        temb: jax.Array | None = None,
        context: jax.Array | Prompted | None = None,
        train: bool = False,
    ) -> jax.Array:
        """`[B, H, W, C]` to the same shape."""
        features = x.shape[-1]
        x = residual(self.style, features, "resnets_0", rescale=self.rescale)(x, temb, train)
        for i, spec in enumerate(self.attentions):
            x = _attended(self.style, spec, f"attentions_{i}", x, context, self.rescale)
            x = residual(self.style, features, f"resnets_{i + 1}", rescale=self.rescale)(
                x, temb, train
            )
        return x


class UpBlock(nn.Module):
    """Residual (and attention) layers, each with a skip from the way down; then an upsampling.

    Attributes:
        style: see `Style`.
        features: output channels.
        attentions: one spec (or None) a layer; their number is the number of layers.
        resample: "conv" (repeat pixels, then a convolution), "bilinear" (interpolate, then a
            convolution), "resnet" or None (the last block).
        rescale: every residual sum is divided by this.
    """

    style: Style
    features: int
    attentions: tuple[AttentionSpec, ...]
    resample: str | None = None
    rescale: float = 1.0

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        skips: list[jax.Array] | None = None,
        temb: jax.Array | None = None,
        context: jax.Array | Prompted | None = None,
        train: bool = False,
        size: tuple[int, int] | None = None,
    ) -> jax.Array:
        """`skips`: one a layer, the last used first (None: an autoencoder's decoder, no skips)."""
        sums = {"rescale": self.rescale}
        for i, spec in enumerate(self.attentions):
            if skips is not None:
                x = jnp.concatenate([x, skips[-1 - i]], axis=-1)
            x = residual(self.style, self.features, f"resnets_{i}", **sums)(x, temb, train)
            x = _attended(self.style, spec, f"attentions_{i}", x, context, self.rescale)
        if self.resample in ("conv", "bilinear"):
            bilinear = self.resample == "bilinear"
            x = Upsample(self.style, bilinear, name="upsamplers_0")(x, size)
        elif self.resample == "resnet":
            up = residual(self.style, self.features, "upsamplers_0", resample="up", **sums)
            x = up(x, temb, train)
        return x
