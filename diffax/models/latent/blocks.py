"""Down, middle and up blocks shared by the published U-Nets and autoencoders.

Submodules carry the names of the published state dicts (`resnets_0`, `attentions_0`,
`downsamplers_0`), so that converting a checkpoint is one rule instead of a table.
"""

from __future__ import annotations

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp

from diffax.models.latent.attention import PixelAttention
from diffax.models.latent.residual import Downsample, ResnetBlock, Style, Upsample
from diffax.models.latent.transformer import SpatialTransformer


@dataclasses.dataclass(frozen=True)
class SelfSpec:
    """One layer's attention over its own pixels.

    Attributes:
        heads: number of heads.
        groups: groups of its GroupNorm.
    """

    heads: int
    groups: int


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


AttentionSpec = SelfSpec | CrossSpec | None


def _resnet(style: Style, features: int, name: str, **options) -> ResnetBlock:
    # `train` (the third argument after the module itself) is a Python bool.
    block = nn.remat(ResnetBlock, static_argnums=(3,)) if style.remat else ResnetBlock
    return block(style, features, name=name, **options)


def _attention(
    style: Style,
    spec: AttentionSpec,
    name: str,
    x: jax.Array,
    context: jax.Array | None,
    rescale: float = 1.0,
) -> jax.Array:
    if spec is None:
        return x
    options = dict(heads=spec.heads, query_chunk=style.query_chunk, name=name, **style.dtypes)
    if isinstance(spec, SelfSpec):
        block = nn.remat(PixelAttention) if style.remat else PixelAttention
        return block(groups=spec.groups, eps=style.eps, rescale=rescale, **options)(x)
    block = nn.remat(SpatialTransformer) if style.remat else SpatialTransformer
    return block(
        depth=spec.depth,
        groups=style.groups,
        linear_projection=spec.linear_projection,
        only_cross_attention=spec.only_cross_attention,
        **options,
    )(x, context)


class DownBlock(nn.Module):
    """Residual (and attention) layers, then a downsampling.

    Attributes:
        features: output channels.
        attentions: one spec (or None) a layer; their number is the number of layers.
        resample: "conv", "resnet" or None (the last block).
        padding: of the downsampling convolution; see `Downsample`.
    """

    style: Style
    features: int
    attentions: tuple[AttentionSpec, ...]
    resample: str | None = None
    padding: int = 1

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        temb: jax.Array | None = None,
        context: jax.Array | None = None,
        train: bool = False,
    ) -> tuple[jax.Array, list[jax.Array]]:
        """Returns the output and every layer's output, for the up path."""
        skips = []
        for i, spec in enumerate(self.attentions):
            x = _resnet(self.style, self.features, f"resnets_{i}")(x, temb, train)
            x = _attention(self.style, spec, f"attentions_{i}", x, context)
            skips.append(x)
        if self.resample == "conv":
            x = Downsample(self.style, self.padding, name="downsamplers_0")(x)
            skips.append(x)
        elif self.resample == "resnet":
            x = _resnet(self.style, self.features, "downsamplers_0", resample="down")(
                x, temb, train
            )
            skips.append(x)
        return x, skips


class MidBlock(nn.Module):
    """A residual layer, then attention and a residual layer for each spec.

    Attributes:
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
        context: jax.Array | None = None,
        train: bool = False,
    ) -> jax.Array:
        """`[B, H, W, C]` to the same shape."""
        features = x.shape[-1]
        x = _resnet(self.style, features, "resnets_0", rescale=self.rescale)(x, temb, train)
        for i, spec in enumerate(self.attentions):
            x = _attention(self.style, spec, f"attentions_{i}", x, context, self.rescale)
            x = _resnet(self.style, features, f"resnets_{i + 1}", rescale=self.rescale)(
                x, temb, train
            )
        return x


class UpBlock(nn.Module):
    """Residual (and attention) layers, each with a skip from the way down; then an upsampling.

    Attributes:
        features: output channels.
        attentions: one spec (or None) a layer; their number is the number of layers.
        resample: "conv", "resnet" or None (the last block).
    """

    style: Style
    features: int
    attentions: tuple[AttentionSpec, ...]
    resample: str | None = None

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        skips: list[jax.Array] | None = None,
        temb: jax.Array | None = None,
        context: jax.Array | None = None,
        train: bool = False,
        size: tuple[int, int] | None = None,
    ) -> jax.Array:
        """`skips`: one a layer, the last used first (None: an autoencoder's decoder, no skips)."""
        for i, spec in enumerate(self.attentions):
            if skips is not None:
                x = jnp.concatenate([x, skips[-1 - i]], axis=-1)
            x = _resnet(self.style, self.features, f"resnets_{i}")(x, temb, train)
            x = _attention(self.style, spec, f"attentions_{i}", x, context)
        if self.resample == "conv":
            x = Upsample(self.style, name="upsamplers_0")(x, size)
        elif self.resample == "resnet":
            x = _resnet(self.style, self.features, "upsamplers_0", resample="up")(x, temb, train)
        return x
