"""CLIP score: whether images show what their texts say (Hessel et al. 2021)."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from diffax.data.pixels import fit_all
from diffax.evaluation.examples import interval
from diffax.evaluation.features import checked
from diffax.evaluation.metric import Measured, Watched
from diffax.models import BoundModule, fingerprint
from diffax.models.clip_vision import MEAN, STD
from diffax.noun import check_range
from diffax.pretrained.clip import PublishedCLIP, load_clip

CLIP_VARIABLE = "DIFFAX_CLIP"


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


@dataclass(frozen=True)
class CLIPScore:
    """Whether samples show what their texts say, as `clip_score`, from 0 to 100.

    The texts are those that the samples were asked for: `prompts`, else `--prompt`, else the
    captions of the data; of samples in a file `prompts`, else their own captions.
    """

    path: str | None = None
    """Folder of a whole CLIP, such as a snapshot of openai/clip-vit-base-patch32. None: what the
    environment's DIFFAX_CLIP names."""
    prompts: tuple[str, ...] = ()
    """Texts, in turn over the samples."""
    samples: int = 256
    """Samples."""
    batch_size: int = 64
    """Pairs in one compiled call."""

    better: ClassVar[Mapping[str, str]] = {"clip_score": "higher"}

    def __post_init__(self) -> None:
        """Checks every value."""
        for name in ("samples", "batch_size"):
            check_range(f"metrics {name}", getattr(self, name), least=1)
        if not all(text.strip() for text in self.prompts):
            raise ValueError("metrics prompts: expected texts, got an empty one")

    def __call__(self, watched: Watched) -> dict[str, float]:
        """The figure."""
        return dict(self.measure(watched).figures)

    def measure(self, watched: Watched) -> Measured:
        """The figure, with its interval and the CLIP's name.

        Raises:
            FileNotFoundError: no CLIP.
            ValueError: samples that were asked for no text.
        """
        clip, name = _loaded(self.path or os.environ.get(CLIP_VARIABLE))
        asked = watched.saying(self.prompts) if self.prompts else watched
        texts = asked.texts(self.samples)
        if texts is None:
            raise ValueError(
                "a CLIP score needs texts: say --clip_score.prompts TEXT ..., or give captions "
                "with the data or the samples"
            )
        images = asked.samples(self.samples).images
        scores = clip_score(clip, images, texts[: len(images)], batch_size=self.batch_size)
        count = len(set(texts[: len(images)]))
        return Measured(
            {"clip_score": float(scores.mean())},
            intervals={"clip_score": interval(scores)},
            notes=(f"clip_score: {len(images):,} samples of {count:,} texts, CLIP {name}",),
        )


@functools.lru_cache(maxsize=1)
def _loaded(path: str | None) -> tuple[PublishedCLIP, str]:
    """A CLIP and what to call it."""
    if not path or not Path(path).is_dir():
        raise FileNotFoundError(
            f"no CLIP{f' in {path}' if path else ''}: give the folder of a whole one, such as a "
            f"snapshot of openai/clip-vit-base-patch32, as --clip_score.path or in the "
            f"environment's {CLIP_VARIABLE}"
        )
    clip = load_clip(path)
    weights = fingerprint((clip.text.params, clip.image.params))
    return clip, f"{Path(path).resolve().name} {weights[:12]}"


@jax.jit
def _cosines(image: BoundModule, text: BoundModule, pixels: jax.Array, ids: jax.Array) -> jax.Array:
    mean, std = (jnp.asarray(v, jnp.float32).reshape(1, 1, 1, 3) for v in (MEAN, STD))
    seen = image((pixels.astype(jnp.float32) / 255 - mean) / std).projected
    said = text(ids).projected
    lengths = jnp.linalg.norm(seen, axis=-1) * jnp.linalg.norm(said, axis=-1)
    return jnp.sum(seen * said, axis=-1) / lengths
