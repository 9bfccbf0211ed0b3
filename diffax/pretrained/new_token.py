"""A token that a text encoder did not know: textual inversion (Gal et al. 2022)."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax.numpy as jnp
from jax import Array

from diffax.models.bound import BoundModule
from diffax.pretrained.conditioning import PublishedText
from diffax.pretrained.tokenizer import Tokenizer


def with_token(conditioner: PublishedText, token: str, vectors: int, initial: str) -> PublishedText:
    """The conditioner with a token of its own in every text encoder.

    Its vectors are the rows of the table `new_embedding`, numbered behind the vocabulary.

    Args:
        conditioner: a published model's.
        token: what texts call it, such as "<cat-toy>".
        vectors: how many it stands for.
        initial: a word whose vector all of them are at first.

    Raises:
        ValueError: a text encoder that has new tokens already, or a word that is several tokens.
    """
    pairs = zip(conditioner.encoders, conditioner.tokenizers, strict=True)
    both = [_extended(*pair, token, vectors, initial) for pair in pairs]
    encoders, tokenizers = zip(*both, strict=True)
    return dataclasses.replace(conditioner, encoders=encoders, tokenizers=tokenizers)


def token_vectors(conditioner: PublishedText) -> tuple[Array, ...]:
    """The learned vectors `[n, C]` of every text encoder."""
    return tuple(
        _embeddings(encoder.params)["new_embedding"]["embedding"]
        for encoder in conditioner.encoders
    )


def _extended(
    encoder: BoundModule, tokenizer: Tokenizer, token: str, vectors: int, initial: str
) -> tuple[BoundModule, Tokenizer]:
    module = encoder.module
    if module.new_tokens:
        raise ValueError(f"a new token {token!r} beside another one is not supported")
    if tokenizer.backend.token_to_id(token) is not None:
        raise ValueError(
            f"conditioner.token {token!r} is in the vocabulary already; choose another name"
        )
    ids = tokenizer.ids(initial)
    if len(ids) != 1:
        raise ValueError(
            f"conditioner.initial {initial!r} is {len(ids)} tokens of this model's vocabulary; "
            "give a word that is one"
        )
    tables = _embeddings(encoder.params)
    row = tables["token_embedding"]["embedding"][ids[0]]
    tables = {**tables, "new_embedding": {"embedding": jnp.tile(row, (vectors, 1))}}
    params = {**encoder.params["params"]}
    params["text_model"] = {**params["text_model"], "embeddings": tables}
    own = tuple(range(module.vocab_size, module.vocab_size + vectors))
    return (
        BoundModule(module.clone(new_tokens=vectors), {"params": params}),
        dataclasses.replace(tokenizer, added=(*tokenizer.added, (token, own))),
    )


def _embeddings(params: Any) -> Any:
    return params["params"]["text_model"]["embeddings"]
