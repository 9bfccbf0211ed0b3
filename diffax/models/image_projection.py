"""From CLIP's view of an image to tokens that a U-Net attends to (IP-Adapter, Ye et al. 2023)."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp

from diffax.models import fields
from diffax.models.blocks.attention import attend
from diffax.models.blocks.style import Style

HEAD_SIZE = 64


class ImageProjection(nn.Module):
    """A linear map of an image's embedding to all tokens, then a norm of each (section 3.2).

    Attributes:
        tokens: how many.
        features: width of a token.

    Example:
        >>> module, x = ImageProjection(tokens=4, features=8), jnp.ones((1, 6))
        >>> module.apply(module.init(jax.random.key(0), x), x).shape
        (1, 4, 8)
    """

    tokens: int = 4
    features: int = 768

    def __post_init__(self) -> None:
        fields.whole(self, "tokens", "features")
        super().__post_init__()

    @nn.compact
    def __call__(self, embedding: jax.Array) -> jax.Array:
        """`[B, D]` to `[B, tokens, features]`."""
        style = Style()
        out = style.dense(self.tokens * self.features, "proj")(embedding)
        return style.layer_norm("norm")(out.reshape(-1, self.tokens, self.features))


class Resampler(nn.Module):
    """Learned queries that gather from all states of an image (IP-Adapter Plus).

    Attributes:
        tokens: queries, and tokens that come out.
        width: of the states inside.
        features: width of a token.
        heads: of every attention, each of 64 channels.
        depth: layers of attention and feed-forward.

    Example:
        >>> module = Resampler(tokens=4, width=16, features=8, heads=1, depth=2)
        >>> x = jnp.ones((1, 5, 6))
        >>> module.apply(module.init(jax.random.key(0), x), x).shape
        (1, 4, 8)
    """

    tokens: int = 16
    width: int = 768
    features: int = 768
    heads: int = 12
    depth: int = 4

    def __post_init__(self) -> None:
        fields.whole(self, "tokens", "width", "features", "heads")
        fields.whole(self, "depth", high=fields.MOST_LAYERS)
        super().__post_init__()

    @nn.compact
    def __call__(self, states: jax.Array) -> jax.Array:
        """`[B, L, D]` to `[B, tokens, features]`."""
        style, init = Style(), nn.initializers.normal(self.width**-0.5)
        latents = self.param("latents", init, (1, self.tokens, self.width))
        latents = jnp.broadcast_to(latents, (states.shape[0], *latents.shape[1:]))
        x = style.dense(self.width, "proj_in")(states)
        for i in range(self.depth):
            latents = _ResamplerLayer(style, self.heads, name=f"layers_{i}")(x, latents)
        return style.layer_norm("norm_out")(style.dense(self.features, "proj_out")(latents))


class _ResamplerLayer(nn.Module):
    style: Style
    heads: int

    @nn.compact
    def __call__(self, x: jax.Array, latents: jax.Array) -> jax.Array:
        # Numbered as the published files have them.
        latents = latents + _Gathering(self.style, self.heads, name="0")(x, latents)
        return latents + _FeedForward(self.style, name="1")(latents)


class _Gathering(nn.Module):
    """Attention of the queries to the states and to themselves."""

    style: Style
    heads: int

    @nn.compact
    def __call__(self, x: jax.Array, latents: jax.Array) -> jax.Array:
        style, inner = self.style, self.heads * HEAD_SIZE

        def split(tokens: jax.Array) -> jax.Array:
            return tokens.reshape(*tokens.shape[:-1], self.heads, HEAD_SIZE)

        normed = style.layer_norm("norm2")(latents)
        source = jnp.concatenate([style.layer_norm("norm1")(x), normed], axis=1)
        query = style.dense(inner, "to_q", use_bias=False)(normed)
        both = style.dense(2 * inner, "to_kv", use_bias=False)(source)
        key, value = jnp.split(both, 2, axis=-1)
        out = attend(split(query), split(key), split(value)).reshape(query.shape)
        return style.dense(latents.shape[-1], "to_out", use_bias=False)(out)


class _FeedForward(nn.Module):
    style: Style

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        h = self.style.layer_norm("0")(x)
        h = self.style.dense(4 * x.shape[-1], "1", use_bias=False)(h)
        h = nn.gelu(h, approximate=False)
        return self.style.dense(x.shape[-1], "3", use_bias=False)(h)
