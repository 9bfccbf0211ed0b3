"""From prompts to what the U-Net is conditioned on."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from diffax.pretrained.network import LoadedNetwork
from diffax.pretrained.prompts import tokenize
from diffax.pretrained.tokenizer import Tokenizer


def encode_prompts(
    encoders: Sequence[LoadedNetwork],
    tokenizers: Sequence[Tokenizer],
    prompts: Sequence[str],
    *,
    xl: bool = False,
    clip_skip: int = 0,
) -> dict[str, jax.Array]:
    """Encodes prompts with one text encoder (SD 1, SD 2) or all of XL's.

    A prompt of more than 75 tokens is encoded in several windows, whose states are joined. Weighted
    tokens' states are multiplied by their weights, then all are scaled back to the mean they had.

    Args:
        encoders: the text encoders, all used.
        tokenizers: one for each.
        prompts: B texts; see `diffax.pretrained.prompts`.
        xl: XL's way: the last layer but one of each encoder, and the pooled text.
        clip_skip: so many more layers are left out.

    Returns:
        "context" `[B, 77 chunks, C]`, and with `xl` "pooled" `[B, P]`, float32.

    Raises:
        ValueError: a prompt is too long.
    """
    tokens = [tokenize(tokenizer, prompts) for tokenizer in tokenizers]
    chunks = max(t.ids.shape[1] for t in tokens)
    contexts, pooled = [], None
    for encoder, tokenizer in zip(encoders, tokenizers, strict=True):
        own = tokenize(tokenizer, prompts, min_chunks=chunks)
        context, projected = _encode(encoder, own.ids, own.weights, xl, clip_skip)
        contexts.append(context)
        pooled = projected if projected is not None else pooled
    condition = {"context": jnp.concatenate(contexts, axis=-1)}
    return condition | {"pooled": pooled} if xl else condition


def _encode_impl(encoder: LoadedNetwork, ids, weights, xl, clip_skip):
    batch, chunks, length = ids.shape
    out = encoder(ids.reshape(batch * chunks, length), 0 if xl else clip_skip)
    states = out.hidden[-2 - clip_skip] if xl else out.last
    states = states.astype(jnp.float32).reshape(batch, chunks * length, -1)
    weighted = states * weights.reshape(batch, -1, 1)
    before, after = (jnp.mean(s, axis=(1, 2), keepdims=True) for s in (states, weighted))
    asked = jnp.any(weights != 1, axis=(1, 2)).reshape(batch, 1, 1)
    context = jnp.where(asked, weighted * (before / after), states)
    if out.projected is None:
        return context, None
    # The text as a whole is what its first window says.
    return context, out.projected.astype(jnp.float32).reshape(batch, chunks, -1)[:, 0]


_encode = jax.jit(_encode_impl, static_argnums=(3, 4))
