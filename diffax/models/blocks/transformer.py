"""Transformer blocks over tokens, and over the pixels of an image with a text to look at."""

from __future__ import annotations

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp

from diffax.models.blocks.attention import Attention, Prompted
from diffax.models.blocks.fusion import written
from diffax.models.blocks.style import Style


class FeedForward(nn.Module):
    """A linear map to a wider layer, GELU, and a linear map back.

    Attributes:
        style: see `Style`.
        factor: width of the hidden layer over that of the tokens.
        gated: GEGLU (Shazeer 2020): half of a hidden layer of twice the width is multiplied by the
            GELU of the other half; stored as value, gate.
        exact: the GELU of the error function, instead of its approximation by a tanh.
    """

    style: Style
    factor: int = 4
    gated: bool = True
    exact: bool = True

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """`[B, N, C]` to `[B, N, C]`."""
        width = self.factor * x.shape[-1]
        if self.gated:
            value, gate = jnp.split(_Projection(self.style, 2 * width, name="net_0")(x), 2, axis=-1)
        else:
            value, gate = 1, _Projection(self.style, width, name="net_0")(x)
        h = value * nn.gelu(gate, approximate=not self.exact)
        return self.style.dense(x.shape[-1], "net_2", kernel_init=self.style.out_init)(h)


class _Projection(nn.Module):
    """A linear map one level deeper, where the published files have it."""

    style: Style
    features: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return self.style.dense(self.features, "proj")(x)


class TransformerBlock(nn.Module):
    """Self-attention, cross-attention and a GEGLU feed-forward on tokens, each residual.

    Rombach et al. 2022, appendix E.2.1.

    Attributes:
        style: see `Style`.
        heads: number of heads of both attentions.
        only_cross_attention: the first attention, too, looks at the context.
    """

    style: Style
    heads: int
    only_cross_attention: bool = False

    @nn.compact
    def __call__(self, x: jax.Array, context: jax.Array | Prompted) -> jax.Array:
        """`[B, N, C]` with context `[B, M, K]`, perhaps with an image beside it, to `[B, N, C]`."""
        style = self.style

        def attention(name: str) -> Attention:
            return Attention(style, self.heads, qkv_bias=False, name=name)

        text = context.text if isinstance(context, Prompted) else context
        first = text if self.only_cross_attention else None
        x = written(x + attention("attn1")(style.layer_norm("norm1")(x), first))
        x = written(x + attention("attn2")(style.layer_norm("norm2")(x), context))
        return written(x + FeedForward(style, name="ff")(style.layer_norm("norm3")(x)))


class SpatialTransformer(nn.Module):
    """`depth` transformer blocks over the pixels of an image, added to it.

    Attributes:
        style: see `Style`.
        heads: number of heads.
        depth: number of transformer blocks.
        linear_projection: the maps in and out are linear (Stable Diffusion 2, XL) instead of 1 x 1
            convolutions: the same numbers, stored in another shape.
        only_cross_attention: see `TransformerBlock`.
    """

    style: Style
    heads: int
    depth: int = 1
    linear_projection: bool = False
    only_cross_attention: bool = False

    @nn.compact
    def __call__(self, x: jax.Array, context: jax.Array | Prompted) -> jax.Array:
        """`[B, H, W, C]` with context `[B, M, K]` to `[B, H, W, C]`."""
        style, channels = self.style, x.shape[-1]
        # The map out closes the whole branch; the branches inside it start as usual.
        inner = dataclasses.replace(style, out_init=style.kernel_init)

        def projection(name: str, init: nn.initializers.Initializer | None = None) -> nn.Module:
            if self.linear_projection:
                return style.dense(channels, name, kernel_init=init)
            return style.conv(channels, name, size=1, kernel_init=init)

        h = projection("proj_in")(style.norm("norm", eps=1e-6)(x))
        h = h.reshape(x.shape[0], -1, channels)
        for i in range(self.depth):
            block = TransformerBlock(
                inner, self.heads, self.only_cross_attention, name=f"transformer_blocks_{i}"
            )
            h = block(h, context)
        return x + projection("proj_out", style.out_init)(h.reshape(x.shape))


class TutorialBlock(nn.Module):
    """LayerNorm attention, then a LayerNorm GELU feed-forward of the same width, both residual.

    The self-attention block of the class-conditional DDPM tutorials.

    Attributes:
        style: see `Style`.
        heads: number of heads.
    """

    style: Style
    heads: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Attend over the pixels of `[B, H, W, C]`; returns the same shape."""
        style = self.style
        tokens = x.reshape(x.shape[0], -1, x.shape[-1])
        # The biases of PyTorch's attention begin at zero.
        attention = Attention(
            dataclasses.replace(style, fan_in_bias=False), self.heads, name="attn1"
        )
        tokens = tokens + attention(style.layer_norm("norm1")(tokens))
        feed_forward = FeedForward(style, factor=1, gated=False, name="ff")
        tokens = tokens + feed_forward(style.layer_norm("norm2")(tokens))
        return tokens.reshape(x.shape)
