"""Latents that are computed once, where a recipe's codec names a file for them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from diffax.codecs import Latent
from diffax.compilation import jit
from diffax.data import Column, Dataset
from diffax.data.precomputed import precomputed
from diffax.models import fingerprint


def with_latents(objective: Any, recipe: Any, dataset: Dataset) -> tuple[Any, Dataset]:
    """Objective and data as the run sees them: with `codec.cache`, latents instead of images.

    Args:
        objective: built for these data.
        recipe: what it was built from.
        dataset: opened.

    Raises:
        ValueError: a file of latents of another autoencoder or of other data.
    """
    file = getattr(getattr(recipe, "codec", None), "cache", None)
    if file is None:
        return objective, dataset
    codec = objective.codec

    @jit
    def encode(codec: Any, images: Any) -> Any:
        return codec.encode(images)

    made = jax.eval_shape(encode, codec, jnp.asarray(dataset.spec.blank()["x"]))
    latents = precomputed(
        dataset,
        Path(file),
        lambda images: np.asarray(encode(codec, images)),
        Column(made.shape[1:], made.dtype.name),
        _encoder(codec),
    )
    return dataclasses.replace(objective, encoded=True), latents


def _encoder(codec: Any) -> str:
    """Fingerprint of an autoencoder with its scale and shift, and of what is taken of it."""
    if not isinstance(codec, Latent):
        return f"{type(codec).__name__} of {_encoder(codec.latent)}"
    ends = [codec.module.scale(jnp.float32(end)) for end in (0, 1)]
    return fingerprint({"params": codec.params, "scale": ends})
