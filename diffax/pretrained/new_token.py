"""Tokens that a text encoder did not know: textual inversion (Gal et al. 2022)."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
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
        ValueError: a token that is known already, or a word that is several tokens.
    """
    rows = []
    for encoder, tokenizer in zip(conditioner.encoders, conditioner.tokenizers, strict=True):
        ids = tokenizer.ids(initial)
        if len(ids) != 1:
            raise ValueError(
                f"conditioner.initial {initial!r} is {len(ids)} tokens of this model's "
                "vocabulary; give a word that is one"
            )
        row = _embeddings(encoder.params)["token_embedding"]["embedding"][ids[0]]
        rows.append(jnp.tile(row, (vectors, 1)))
    return with_vectors(conditioner, token, rows)


def with_vectors(conditioner: PublishedText, token: str, vectors: Sequence[Array]) -> PublishedText:
    """The conditioner with a token that stands for given vectors, beside those it has.

    Args:
        conditioner: a published model's.
        token: what texts call it.
        vectors: `[n, C]` for each text encoder.

    Raises:
        ValueError: a token that is known already, or vectors of another model's width.
    """
    encoders, tokenizers = [], []
    for encoder, tokenizer, rows in zip(
        conditioner.encoders, conditioner.tokenizers, vectors, strict=True
    ):
        known = tokenizer.backend.token_to_id(token) is not None
        if known or token in (name for name, _ in tokenizer.added):
            raise ValueError(
                f"the token {token!r} is in the vocabulary already; choose another name"
            )
        module, tables = encoder.module, _embeddings(encoder.params)
        if rows.shape[1] != module.hidden_size:
            raise ValueError(
                f"{token!r} has vectors of {rows.shape[1]} numbers, this model's have "
                f"{module.hidden_size}: it was made for another base model"
            )
        table = rows
        if module.new_tokens:
            table = jnp.concatenate([tables["new_embedding"]["embedding"], rows])
        params = {**encoder.params["params"]}
        tables = {**tables, "new_embedding": {"embedding": table}}
        params["text_model"] = {**params["text_model"], "embeddings": tables}
        first = module.vocab_size + module.new_tokens
        own = tuple(range(first, first + len(rows)))
        module = module.clone(new_tokens=module.new_tokens + len(rows))
        encoders.append(BoundModule(module, {"params": params}))
        tokenizers.append(_named(tokenizer, token, own))
    return dataclasses.replace(conditioner, encoders=tuple(encoders), tokenizers=tuple(tokenizers))


def token_vectors(conditioner: PublishedText, token: str | None = None) -> tuple[Array, ...]:
    """The vectors `[n, C]` of a new token in every text encoder; None: of all new tokens.

    Raises:
        ValueError: no such token was added.
    """
    found = []
    for encoder, tokenizer in zip(conditioner.encoders, conditioner.tokenizers, strict=True):
        table = _embeddings(encoder.params)["new_embedding"]["embedding"]
        if token is not None:
            ids = dict(tokenizer.added).get(token)
            if ids is None:
                raise ValueError(f"{token!r} is none of the new tokens {dict(tokenizer.added)}")
            table = table[ids[0] - encoder.module.vocab_size :][: len(ids)]
        found.append(table)
    return tuple(found)


def without_new_tokens(conditioner: PublishedText) -> PublishedText:
    """The conditioner as it was before any token was added."""
    encoders = []
    for encoder in conditioner.encoders:
        if encoder.module.new_tokens:
            params = {**encoder.params["params"]}
            tables = {**_embeddings(encoder.params)}
            del tables["new_embedding"]
            params["text_model"] = {**params["text_model"], "embeddings": tables}
            encoder = BoundModule(encoder.module.clone(new_tokens=0), {"params": params})
        encoders.append(encoder)
    tokenizers = tuple(dataclasses.replace(t, added=()) for t in conditioner.tokenizers)
    return dataclasses.replace(conditioner, encoders=tuple(encoders), tokenizers=tokenizers)


def _named(tokenizer: Tokenizer, token: str, ids: tuple[int, ...]) -> Tokenizer:
    return dataclasses.replace(tokenizer, added=(*tokenizer.added, (token, ids)))


def _embeddings(params: Any) -> Any:
    return params["params"]["text_model"]["embeddings"]
