"""Self-attention over the pixels of a feature map: DDPM's block and the tutorials'."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from diffax.models.normalization import GroupNorm


def dot_product_attention(query: jax.Array, key: jax.Array, value: jax.Array) -> jax.Array:
    """softmax(Q K^T / sqrt(D)) V for every head, the softmax in float32.

    Takes cuDNN's flash attention where it can run (GPU, half precision, a head size it knows),
    XLA's elsewhere.

    Args:
      query: `[B, T, heads, D]`.
      key: `[B, S, heads, D]`.
      value: `[B, S, heads, D]`.

    Returns:
      `[B, T, heads, D]`, of the query's dtype.
    """
    # Chosen in Python: cuDNN's custom call does not lower on other back ends, not even in the
    # branch of `lax.platform_dependent` that is never taken.
    head_size = query.shape[-1]
    half = query.dtype in (jnp.bfloat16, jnp.float16)
    fits = head_size % 8 == 0 and head_size <= 128
    cudnn = jax.default_backend() == "gpu" and half and fits
    return jax.nn.dot_product_attention(
        query, key, value, implementation="cudnn" if cudnn else "xla"
    )


class SelfAttention(nn.Module):
    """Project tokens to queries, keys and values, attend, project back.

    Attributes:
      num_heads: heads; must divide the channels.
      dtype: of the computation; parameters and softmax are float32.
      kernel_init: initialiser of the query, key and value projections.
      out_init: initialiser of the output projection.
    """

    num_heads: int = 1
    dtype: Any = jnp.float32
    kernel_init: Callable[..., jax.Array] = nn.initializers.lecun_normal()
    out_init: Callable[..., jax.Array] = nn.initializers.lecun_normal()

    @nn.compact
    def __call__(self, tokens: jax.Array) -> jax.Array:
        """Attend over `[B, T, C]`; returns `[B, T, C]`.

        Raises:
          ValueError: the channels do not split into `num_heads`.
        """
        channels = tokens.shape[-1]
        if channels % self.num_heads:
            raise ValueError(
                f"SelfAttention: expected channels divisible by num_heads, got {channels} channels "
                f"and {self.num_heads} heads; change num_heads, head_size or channels"
            )
        heads = (*tokens.shape[:-1], self.num_heads, channels // self.num_heads)

        def project(name: str) -> jax.Array:
            dense = nn.Dense(channels, dtype=self.dtype, kernel_init=self.kernel_init, name=name)
            return dense(tokens).reshape(heads)

        attended = dot_product_attention(project("query"), project("key"), project("value"))
        out = nn.Dense(channels, dtype=self.dtype, kernel_init=self.out_init, name="out")
        return out(attended.reshape(tokens.shape))


class AttentionBlock(nn.Module):
    """x + attention(GroupNorm(x)), the 1 x 1 projections as dense layers (Ho et al. 2020).

    Attributes: as in `SelfAttention`.
    """

    num_heads: int = 1
    dtype: Any = jnp.float32
    kernel_init: Callable[..., jax.Array] = nn.initializers.lecun_normal()
    out_init: Callable[..., jax.Array] = nn.initializers.lecun_normal()

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Attend over the pixels of `[B, H, W, C]`; returns the same shape."""
        batch, height, width, channels = x.shape
        tokens = GroupNorm(dtype=self.dtype, name="norm")(x)
        attention = SelfAttention(
            self.num_heads, self.dtype, self.kernel_init, self.out_init, name="attention"
        )
        return x + attention(tokens.reshape(batch, height * width, channels)).reshape(x.shape)


class TransformerBlock(nn.Module):
    """LayerNorm attention, then a LayerNorm GELU feed-forward of the same width, both residual.

    The self-attention block of the class-conditional DDPM tutorials.

    Attributes: as in `SelfAttention`; `out_init` also serves the feed-forward's last layer.
    """

    num_heads: int = 4
    dtype: Any = jnp.float32
    kernel_init: Callable[..., jax.Array] = nn.initializers.lecun_normal()
    out_init: Callable[..., jax.Array] = nn.initializers.lecun_normal()

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Attend over the pixels of `[B, H, W, C]`; returns the same shape."""
        batch, height, width, channels = x.shape
        tokens = x.reshape(batch, height * width, channels)

        def normed(name: str) -> jax.Array:
            norm = nn.LayerNorm(epsilon=1e-5, dtype=jnp.float32, name=name)
            return norm(tokens).astype(self.dtype)

        attention = SelfAttention(
            self.num_heads, self.dtype, self.kernel_init, self.out_init, name="attention"
        )
        tokens = tokens + attention(normed("attention_norm"))
        hidden = normed("feed_forward_norm")
        hidden = nn.Dense(
            channels, dtype=self.dtype, kernel_init=self.kernel_init, name="feed_forward_in"
        )(hidden)
        hidden = nn.gelu(hidden, approximate=False)
        hidden = nn.Dense(
            channels, dtype=self.dtype, kernel_init=self.out_init, name="feed_forward_out"
        )(hidden)
        return (tokens + hidden).reshape(x.shape)
