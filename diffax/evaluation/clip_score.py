"""CLIP score: whether images show what their texts say (Hessel et al. 2021)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from diffax.data.pixels import fit_all
from diffax.evaluation.features import checked
from diffax.models import BoundModule
from diffax.models.clip_vision import MEAN, STD
from diffax.pretrained.clip import PublishedCLIP


def clip_score(
    clip: PublishedCLIP, images: Any, texts: Sequence[str], *, batch_size: int = 64
) -> np.ndarray:
    """100 times the cosine between image and text in CLIP's joint space, 0 where it is negative.

    Scores of different CLIPs are on different scales: say which one it was. Images are resized as
    CLIP's own are (shorter side, bicubic, the middle), texts cut off after 77 tokens.

    Args:
        clip: see `diffax.pretrained.load_clip`.
        images: `[N, H, W, C]`, C = 3 or 1, uint8 or floating point in [-1, 1].
        texts: N of them.
        batch_size: pairs in one compiled call.

    Returns:
        `[N]` float32 from 0 to 100, one for each pair; their mean is what is quoted.

    Raises:
        ValueError: no images, or another number of texts.

    Example:
        >>> clip_score(clip, images, ["a cat"] * len(images)).mean()  # doctest: +SKIP
    """
    images = checked(images)
    if images.ndim != 4 or images.shape[-1] not in (1, 3) or len(images) != len(texts):
        raise ValueError(
            f"expected images [N, H, W, C] with C = 1 or 3, and N texts, got {list(images.shape)} "
            f"and {len(texts)} texts"
        )
    images = np.broadcast_to(images, (*images.shape[:3], 3))
    side = clip.image.module.image_size
    found = []
    for start in range(0, len(images), batch_size):
        # A short last batch is filled up, so that it runs the same program.
        rows = np.minimum(np.arange(start, start + batch_size), len(images) - 1)
        pixels = fit_all(images[rows], (side, side))
        ids = clip.tokenizer([texts[row] for row in rows])
        found.append(np.asarray(_cosines(clip.image, clip.text, pixels, ids)))
    return 100 * np.maximum(np.concatenate(found)[: len(images)], 0)


@jax.jit
def _cosines(image: BoundModule, text: BoundModule, pixels: jax.Array, ids: jax.Array) -> jax.Array:
    mean, std = (jnp.asarray(v, jnp.float32).reshape(1, 1, 1, 3) for v in (MEAN, STD))
    seen = image((pixels.astype(jnp.float32) / 255 - mean) / std).projected
    said = text(ids).projected
    lengths = jnp.linalg.norm(seen, axis=-1) * jnp.linalg.norm(said, axis=-1)
    return jnp.sum(seen * said, axis=-1) / lengths
