"""Samples of any kind as one image for a person to look at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from diffax.codecs import is_written
from diffax.plotting.audio import audio_grid
from diffax.plotting.images import image_grid
from diffax.plotting.series import series_grid
from diffax.plotting.text import text_page
from diffax.plotting.vectors import scatter

# Of data with files of their own: `(codec, data [N, ...]) -> uint8 [H, W, 1 or 3]`, by their kind.
DRAWN: dict[str, Callable[[Any, np.ndarray], np.ndarray]] = {
    "audio": lambda codec, data: audio_grid(data, codec.rate),
    "text": text_page,
}


def drawn(
    data: np.ndarray,
    codec: Any = None,
    *,
    images: bool | None = None,
    labels: np.ndarray | None = None,
    captions: Sequence[str] | None = None,
) -> np.ndarray | None:
    """Samples as one image: images, a scatter of vectors, lines of sequences, `DRAWN` of others.

    Args:
        data: as `codec.decode` gives them, `[N, ...]`.
        codec: what decoded them; None: images, vectors or plain arrays.
        images: whether they are images; None: those of four axes are whose last is 1 or 3.
        labels: int `[N]`, colours of vectors.
        captions: N texts, below images.

    Returns:
        uint8 `[H, W, 1 or 3]`; None for what nobody can look at.

    Example:
        >>> drawn(np.zeros((4, 8, 8, 1))).shape
        (518, 518, 1)
    """
    data = np.asarray(data)
    if is_written(codec):
        draw = DRAWN.get(codec.kind)
        return None if draw is None else draw(codec, data)
    if images is None:
        images = data.ndim == 4 and data.shape[-1] in (1, 3)
    if images:
        return image_grid(data, captions=captions or None)
    if data.ndim == 3:
        return series_grid(data)
    return scatter(data, labels=labels) if data.ndim == 2 else None
