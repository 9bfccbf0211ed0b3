"""The spatial transformer by which a U-Net looks at a text (Rombach et al. 2022, E.2.1)."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp

from diffax.models.latent.attention import Attention


class _GEGLU(nn.Module):
    """`value * gelu(gate)` with the exact erf GELU (Shazeer 2020); stored as value, gate."""

    features: int
    dtype: jnp.dtype
    param_dtype: jnp.dtype

    @nn.compact
    def __call__(self, x):
        x = nn.Dense(
            2 * self.features, dtype=self.dtype, param_dtype=self.param_dtype, name="proj"
        )(x)
        value, gate = jnp.split(x, 2, axis=-1)
        return value * jax.nn.gelu(gate, approximate=False)


class _FeedForward(nn.Module):
    dtype: jnp.dtype
    param_dtype: jnp.dtype

    @nn.compact
    def __call__(self, x):
        channels = x.shape[-1]
        h = _GEGLU(4 * channels, self.dtype, self.param_dtype, name="net_0")(x)
        return nn.Dense(channels, dtype=self.dtype, param_dtype=self.param_dtype, name="net_2")(h)


class TransformerBlock(nn.Module):
    """Self-attention, cross-attention and a GEGLU feed-forward on tokens `[B, N, C]`.

    Attributes:
        heads: number of heads of both attentions.
        only_cross_attention: the first attention, too, looks at the context.
    """

    heads: int
    only_cross_attention: bool = False
    query_chunk: int | None = None
    dtype: jnp.dtype = jnp.float32
    param_dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, context: jax.Array) -> jax.Array:
        """`[B, N, C]` with context `[B, M, K]` to `[B, N, C]`."""

        def norm(name):
            return nn.LayerNorm(
                epsilon=1e-5,
                use_fast_variance=False,
                dtype=self.dtype,
                param_dtype=self.param_dtype,
                name=name,
            )

        def attention(name):
            return Attention(
                self.heads,
                query_chunk=self.query_chunk,
                dtype=self.dtype,
                param_dtype=self.param_dtype,
                name=name,
            )

        first_context = context if self.only_cross_attention else None
        x = x + attention("attn1")(norm("norm1")(x), first_context)
        x = x + attention("attn2")(norm("norm2")(x), context)
        return x + _FeedForward(self.dtype, self.param_dtype, name="ff")(norm("norm3")(x))


class SpatialTransformer(nn.Module):
    """`depth` transformer blocks over the pixels of `[B, H, W, C]`, with a residual sum.

    Attributes:
        heads: number of heads.
        depth: number of transformer blocks.
        linear_projection: the maps in and out are linear (SD 2, XL) instead of 1x1 convolutions.
    """

    heads: int
    depth: int = 1
    groups: int = 32
    linear_projection: bool = False
    only_cross_attention: bool = False
    query_chunk: int | None = None
    dtype: jnp.dtype = jnp.float32
    param_dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, context: jax.Array) -> jax.Array:
        """`[B, H, W, C]` with context `[B, M, K]` to `[B, H, W, C]`."""
        batch, height, width, channels = x.shape
        dtypes = dict(dtype=self.dtype, param_dtype=self.param_dtype)

        def projection(name):
            if self.linear_projection:
                return nn.Dense(channels, name=name, **dtypes)
            return nn.Conv(channels, (1, 1), name=name, **dtypes)

        h = nn.GroupNorm(self.groups, epsilon=1e-6, use_fast_variance=False, name="norm", **dtypes)(
            x
        )
        h = projection("proj_in")(h).reshape(batch, height * width, channels)
        for i in range(self.depth):
            h = TransformerBlock(
                self.heads,
                self.only_cross_attention,
                query_chunk=self.query_chunk,
                name=f"transformer_blocks_{i}",
                **dtypes,
            )(h, context)
        h = projection("proj_out")(h.reshape(x.shape))
        return x + h
