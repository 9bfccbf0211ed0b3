"""Files of textual inversion: vectors of new tokens, in and out (Gal et al. 2022)."""

from __future__ import annotations

from pathlib import Path

import jax.numpy as jnp
import numpy as np
from jax import Array

from diffax import hub
from diffax.generation import Model
from diffax.pretrained.files import open_file
from diffax.pretrained.new_token import token_vectors, with_vectors
from diffax.pretrained.parts import text_of, with_parts
from diffax.pretrained.saving import write_safetensors
from diffax.pretrained.weights import Tensors

# XL's two text encoders in one file.
XL = ("clip_l", "clip_g")

# Keys that do not say what the token is called.
_NAMELESS = ("emb_params", "string_to_param.*", *XL)


def with_embedding(model: Model, file: str | Path, token: str | None = None) -> Model:
    """The model with a token whose vectors are in a file.

    Args:
        model: with published text encoders; it may have other new tokens.
        file: `.safetensors`, `.pt` or `.bin`, as diffusers and the common web interfaces write.
        token: what prompts call it; None: as the file says, else the file's name without ending.

    Raises:
        FileNotFoundError: no such file.
        ValueError: made for another base model, a token that is known already, or no such file of
            vectors.

    Example:
        >>> model = with_embedding(model, "cat-toy.safetensors")  # doctest: +SKIP
        >>> images = text_to_image(model, "a <cat-toy> on the moon")  # doctest: +SKIP
    """
    file = hub.located(file, ["learned_embeds.safetensors"])
    text = text_of(model)
    if text is None:
        raise ValueError("a new token needs a model with published text encoders")
    tensors = open_file(file)
    vectors, said = _vectors(tensors, len(text.encoders), file)
    name = token or said or file.stem
    try:
        return with_parts(model, {}, with_vectors(text, name, vectors))
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from None


def save_embedding(model: Model, token: str, file: str | Path) -> None:
    """Writes the vectors of a new token as diffusers reads them.

    Args:
        model: that has the token, such as after training.
        token: its name.
        file: a `.safetensors` file, which must not exist.

    Raises:
        FileExistsError: the file is there.
        ValueError: the model has no such token.
    """
    file = Path(file)
    if file.exists():
        raise FileExistsError(f"{file} exists; save to another name or remove it first")
    text = text_of(model)
    if text is None:
        raise ValueError("this model has no published text encoders")
    vectors = token_vectors(text, token)
    keys = (token,) if len(vectors) == 1 else XL
    file.parent.mkdir(parents=True, exist_ok=True)
    write_safetensors(
        file, {key: ("embedding", rows) for key, rows in zip(keys, vectors, strict=True)}
    )


def _vectors(tensors: Tensors, encoders: int, file: Path) -> tuple[list[Array], str | None]:
    """`[n, C]` for each text encoder, and the token's name where the file says it."""
    keys = [key for key in tensors if not key.startswith("string_to_token")]
    if encoders == 2:
        if set(keys) != set(XL):
            raise ValueError(
                f"{file}: this model has two text encoders; expected their vectors as "
                f"{' and '.join(XL)}, got {', '.join(keys[:5])}"
            )
        keys = list(XL)
    elif len(keys) != 1:
        raise ValueError(
            f"{file}: expected one tensor, the vectors of a token, got {len(keys)}: "
            f"{', '.join(keys[:5])}"
        )
    found = []
    for key in keys:
        rows = np.asarray(tensors[key], np.float32)
        if rows.ndim not in (1, 2):
            raise ValueError(f"{file}: {key} should be vectors [n, C], got {list(rows.shape)}")
        found.append(jnp.asarray(rows.reshape(-1, rows.shape[-1])))
    return found, None if keys[0] in _NAMELESS else keys[0]
