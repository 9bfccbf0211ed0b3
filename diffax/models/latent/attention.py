"""Attention as the published latent-diffusion networks use it: self, cross, and over pixels."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp

# Above this many bytes of float32 scores, queries are processed slice by slice.
SCORE_BYTES = 512 * 2**20


def attend(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    *,
    causal: bool = False,
    query_chunk: int | None = None,
) -> jax.Array:
    """Softmax attention with float32 scores, whatever the inputs' dtype.

    Args:
        query: `[B, N, heads, D]`.
        key: `[B, M, heads, D]`.
        value: `[B, M, heads, D]`.
        causal: token i sees tokens 0..i only.
        query_chunk: at most this many queries at a time (`lax.map`), to bound memory. None: only
            where the scores would take more than `SCORE_BYTES`.

    Returns:
        `[B, N, heads, D]`, in the dtype of `query`.
    """
    batch, length, heads, _ = query.shape
    if _cudnn_fits(query, key):
        return jax.nn.dot_product_attention(
            query, key, value, is_causal=causal, implementation="cudnn"
        )
    if query_chunk is None:
        rows = SCORE_BYTES // (4 * batch * heads * key.shape[1])
    else:
        rows = query_chunk
    if causal or length <= rows:
        return jax.nn.dot_product_attention(
            query, key, value, is_causal=causal, implementation="xla"
        )
    chunk = max(n for n in range(1, max(rows, 1) + 1) if length % n == 0)
    slices = jnp.moveaxis(query.reshape(batch, length // chunk, chunk, heads, -1), 1, 0)
    out = jax.lax.map(
        lambda q: jax.nn.dot_product_attention(q, key, value, implementation="xla"), slices
    )
    return jnp.moveaxis(out, 0, 1).reshape(query.shape)


def _cudnn_fits(query: jax.Array, key: jax.Array) -> bool:
    """Whether cuDNN's fused attention takes these inputs; it raises where it does not."""
    # An odd number of keys (77 tokens) has no backward pass there.
    return (
        jax.default_backend() == "gpu"
        and query.dtype in (jnp.bfloat16, jnp.float16)
        and query.shape[-1] % 8 == 0
        and query.shape[-1] <= 128
        and query.shape[1] % 2 == 0
        and key.shape[1] % 2 == 0
    )


class Attention(nn.Module):
    """Multi-head attention from tokens `[B, N, C]` to `context` `[B, M, K]` (None: to themselves).

    Attributes:
        heads: number of heads; C must be a multiple of it.
        qkv_bias: whether the query, key and value maps have a bias (the output map always has).
        query_chunk: see `attend`.
    """

    heads: int
    qkv_bias: bool = False
    query_chunk: int | None = None
    dtype: jnp.dtype = jnp.float32
    param_dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, context: jax.Array | None = None) -> jax.Array:
        """What each token gathers, `[B, N, C]`."""
        channels = x.shape[-1]
        context = x if context is None else context

        def project(source, name):
            dense = nn.Dense(
                channels,
                use_bias=self.qkv_bias,
                dtype=self.dtype,
                param_dtype=self.param_dtype,
                name=name,
            )
            out = dense(source)
            return out.reshape(*out.shape[:-1], self.heads, channels // self.heads)

        query, key, value = project(x, "to_q"), project(context, "to_k"), project(context, "to_v")
        out = attend(query, key, value, query_chunk=self.query_chunk).reshape(x.shape)
        return nn.Dense(channels, dtype=self.dtype, param_dtype=self.param_dtype, name="to_out_0")(
            out
        )


class PixelAttention(nn.Module):
    """GroupNorm, self-attention over all pixels of `[B, H, W, C]`, and a residual sum.

    The attention of DDPM's U-Net (Ho et al. 2020) and of the autoencoders' middle block.

    Attributes:
        rescale: the residual sum is divided by this.
    """

    heads: int
    groups: int
    eps: float
    rescale: float = 1.0
    query_chunk: int | None = None
    dtype: jnp.dtype = jnp.float32
    param_dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """`x` and what each pixel gathers, `[B, H, W, C]`."""
        batch, height, width, channels = x.shape
        h = nn.GroupNorm(
            self.groups,
            epsilon=self.eps,
            use_fast_variance=False,
            dtype=self.dtype,
            param_dtype=self.param_dtype,
            name="group_norm",
        )(x)
        # The maps' names lie beside group_norm in the published files, hence no submodule.
        dense = dict(features=channels, dtype=self.dtype, param_dtype=self.param_dtype)
        tokens = h.reshape(batch, height * width, channels)
        query, key, value = (
            nn.Dense(**dense, name=name)(tokens).reshape(
                batch, height * width, self.heads, channels // self.heads
            )
            for name in ("to_q", "to_k", "to_v")
        )
        out = attend(query, key, value, query_chunk=self.query_chunk).reshape(tokens.shape)
        out = nn.Dense(**dense, name="to_out_0")(out).reshape(x.shape)
        return (x + out) / self.rescale
