"""Attention: the formula, where it may be taken from cuDNN, and the one multi-head module."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from diffax.models.blocks.embeddings import rotated
from diffax.models.blocks.normalization import GroupNorm
from diffax.models.blocks.style import Style


def attend(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    *,
    causal: bool = False,
    query_chunk: int | None = None,
) -> jax.Array:
    """softmax(Q K^T / sqrt(D)) V for every head (Vaswani et al. 2017, eq. 1).

    Scores and softmax are at least float32 whatever the inputs' dtype. cuDNN's fused attention is
    taken where it holds (`cudnn_fits`), the formula elsewhere.

    Args:
        query: `[B, N, heads, D]`.
        key: `[B, M, heads, D]`.
        value: `[B, M, heads, D]`.
        causal: token i sees tokens 0 ... i only.
        query_chunk: at most this many queries at a time, to bound memory in both directions; 1 or
            more. None: only where the scores would take more than `score_bytes` allows.

    Returns:
        `[B, N, heads, D]`, in the dtype of `query`.

    Example:
        >>> q, kv = jnp.ones((1, 3, 2, 4)), jnp.ones((1, 5, 2, 4))
        >>> attend(q, kv, kv).shape
        (1, 3, 2, 4)
    """
    batch, length, heads, size = query.shape
    keys = key.shape[1]
    # Chosen in Python: cuDNN's custom call does not lower on other back ends, not even in the
    # branch of `lax.platform_dependent` that is never taken.
    if cudnn_fits(jax.default_backend(), query.dtype, size, length, keys):
        return jax.nn.dot_product_attention(
            query, key, value, is_causal=causal, implementation="cudnn"
        )
    if query_chunk is None:
        query_chunk = score_bytes(jax.default_backend()) // (4 * batch * heads * keys)
    # In the order that a product of matrices reads: transposing the scores takes longer than that.
    query, value = query.transpose(0, 2, 1, 3), value.transpose(0, 2, 1, 3)
    key = key.transpose(0, 2, 3, 1)
    if length <= query_chunk:
        seen = _no_later(jnp.arange(length), keys) if causal else None
        out = _gathered(query, key, value, seen)
    else:
        out = _gathered_in_slices(query, key, value, causal, max(query_chunk, 1))
    return out.transpose(0, 2, 1, 3)


def score_bytes(backend: str) -> int:
    """Above this many bytes of float32 scores, queries are processed slice by slice.

    On CPUs also for speed: scores that leave the cache cost more time than the products.

    Args:
        backend: as `jax.default_backend()` says it.

    Example:
        >>> score_bytes("cpu") // 2**20, score_bytes("gpu") // 2**20
        (128, 512)
    """
    return (128 if backend == "cpu" else 512) * 2**20


def cudnn_fits(backend: str, dtype: Any, head_size: int, queries: int, keys: int) -> bool:
    """Whether cuDNN's fused attention takes such inputs, forward and backward.

    Args:
        backend: as `jax.default_backend()` says it.
        dtype: of query, key and value; half precision only.
        head_size: D; a multiple of 8, at most 128.
        queries: N. An odd number of tokens on either side, such as the 49 of a 7 x 7 map or the 77
            of a text, runs forward but has no backward pass there.
        keys: M.

    Example:
        >>> [cudnn_fits("gpu", jnp.bfloat16, 64, n, n) for n in (256, 49)]
        [True, False]
    """
    return (
        backend == "gpu"
        and jnp.dtype(dtype) in (jnp.bfloat16, jnp.float16)
        and head_size % 8 == 0
        and head_size <= 128
        and queries % 2 == 0
        and keys % 2 == 0
    )


def _gathered(
    query: jax.Array, key: jax.Array, value: jax.Array, seen: jax.Array | None
) -> jax.Array:
    """`[B, heads, N, D]` from keys `[B, heads, D, M]` and values `[B, heads, M, D]`."""
    exact = jnp.promote_types(query.dtype, jnp.float32)
    scores = jnp.matmul(query, key, preferred_element_type=exact)
    if seen is not None:
        scores = jnp.where(seen[None, None], scores, -jnp.inf)
    # Divided by their sums at the end, where there are fewer numbers to divide.
    largest = jax.lax.stop_gradient(scores.max(axis=-1, keepdims=True))
    weights = jnp.exp((scores - largest) * query.shape[-1] ** -0.5)
    sums = weights.sum(axis=-1, keepdims=True)
    out = jnp.matmul(weights.astype(value.dtype), value, preferred_element_type=exact)
    return (out / sums).astype(query.dtype)


def _no_later(tokens: jax.Array, keys: int) -> jax.Array:
    """Whether a token sees a key: those of tokens no later than itself."""
    return jnp.arange(keys)[None, :] <= tokens[:, None]


def _gathered_in_slices(
    query: jax.Array, key: jax.Array, value: jax.Array, causal: bool, rows: int
) -> jax.Array:
    """The same, at most `rows` queries at a time, in slices of one size."""
    batch, heads, length, depth = query.shape
    count = math.ceil(length / rows)
    size = math.ceil(length / count)
    # Queries do not see each other: what is computed for the padding is cut off again.
    padded = jnp.pad(query, ((0, 0), (0, 0), (0, count * size - length), (0, 0)))
    slices = jnp.moveaxis(padded.reshape(batch, heads, count, size, depth), 2, 0)

    # Recomputed in the backward pass: else all slices' scores would be kept for it.
    @jax.checkpoint
    def one(numbered: tuple[jax.Array, jax.Array]) -> jax.Array:
        i, slice_ = numbered
        seen = _no_later(i * size + jnp.arange(size), key.shape[-1]) if causal else None
        return _gathered(slice_, key, value, seen)

    out = jax.lax.map(one, (jnp.arange(count), slices))
    return jnp.moveaxis(out, 0, 2).reshape(padded.shape)[:, :, :length]


class Prompted(NamedTuple):
    """A text, and image tokens beside it that have keys and values of their own.

    IP-Adapter's decoupled cross-attention (Ye et al. 2023, eq. 5).

    Attributes:
        text: `[B, M, K]`.
        image: `[B, T, K]`.
        scale: `[B]`, how much the image counts.
    """

    text: jax.Array
    image: jax.Array
    scale: jax.Array


class Attention(nn.Module):
    """Multi-head attention from every token to a context, or of the tokens to each other.

    Attributes:
        style: see `Style`.
        heads: number of heads; the channels must be a multiple of it.
        norm_groups: groups of a GroupNorm before it (`group_norm`); None for no norm.
        qkv_bias: whether the query, key and value maps have a bias; the output map always has.
        causal: token i sees tokens 0 ... i only.
        rotary: queries and keys are turned by their places, see `rotated`.
        features: width of what is gathered; None for that of the tokens.
        names: of the query, key, value and output maps.

    Example:
        >>> attention, x = Attention(Style(), heads=2), jnp.ones((1, 4, 4, 8))
        >>> attention.apply(attention.init(jax.random.key(0), x), x).shape
        (1, 4, 4, 8)
    """

    style: Style
    heads: int
    norm_groups: int | None = None
    qkv_bias: bool = True
    causal: bool = False
    rotary: bool = False
    features: int | None = None
    names: tuple[str, str, str, str] = ("to_q", "to_k", "to_v", "to_out_0")

    @nn.compact
    def __call__(self, x: jax.Array, context: jax.Array | Prompted | None = None) -> jax.Array:
        """What each token gathers.

        Args:
            x: tokens `[B, N, C]`, or images `[B, H, W, C]` of which every pixel is a token.
            context: `[B, M, K]`, perhaps with an image beside it; None for the tokens themselves,
                after the norm.

        Returns:
            The shape of `x`, with `features` channels; not added to it.

        Raises:
            ValueError: the channels do not split into that many heads.
        """
        style, channels = self.style, x.shape[-1]
        if self.heads < 1 or channels % self.heads:
            raise ValueError(
                f"Attention: expected channels divisible by the number of heads, got {channels} "
                f"channels and {self.heads} heads; change num_heads, head_size or channels"
            )
        tokens = x.reshape(x.shape[0], -1, channels)
        if self.norm_groups is not None:
            norm = GroupNorm(self.norm_groups, style.eps, name="group_norm", **style.dtypes)
            tokens = norm(tokens)
        source = context.text if isinstance(context, Prompted) else context
        source = tokens if source is None else source

        def project(tokens: jax.Array, name: str) -> jax.Array:
            init = style.qkv_init
            out = style.dense(channels, name, use_bias=self.qkv_bias, kernel_init=init)(tokens)
            return out.reshape(*out.shape[:-1], self.heads, channels // self.heads)

        to_query, to_key, to_value, to_out = self.names
        query, key = project(tokens, to_query), project(source, to_key)
        if self.rotary:
            query, key = rotated(query), rotated(key)
        chunk = style.query_chunk
        out = attend(
            query,
            key,
            project(source, to_value),
            causal=self.causal,
            query_chunk=chunk,
        )
        if isinstance(context, Prompted):
            key, value = (project(context.image, f"{name}_ip") for name in (to_key, to_value))
            scale = context.scale.astype(out.dtype)[:, None, None, None]
            out = out + scale * attend(query, key, value, query_chunk=chunk)
        features = self.features or channels
        out = style.dense(features, to_out, kernel_init=style.out_init)(out.reshape(tokens.shape))
        return out.reshape(*x.shape[:-1], features)
