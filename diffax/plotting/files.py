"""Image files, written whole or not at all."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Mapping

import numpy as np
from PIL import Image, PngImagePlugin

from diffax import atomic
from diffax.plotting import images

_COLOURS = 64  # of each frame: half the bytes of 256, and noise hides the steps


def save_image(
    path: str | os.PathLike, image: np.ndarray, metadata: Mapping[str, str] | None = None
) -> None:
    """Writes a PNG, whole or not at all; folders on the way are made.

    Args:
        path: of the file, whatever its ending.
        image: [H, W, C] with C = 1 or 3, uint8 or floating point in [-1, 1].
        metadata: texts kept in the file (PNG text chunks; `Image.open(path).text` reads them).

    Raises:
        OSError: the path cannot be written; an older file is then still there.
    """
    page = _pillow(image)
    info = PngImagePlugin.PngInfo()
    for key, text in (metadata or {}).items():
        info.add_itxt(key, text)
    atomic.write(path, lambda file: page.save(file, "PNG", pnginfo=info))


def png(image: np.ndarray) -> bytes:
    """An image as the bytes of a PNG file, to be put into something else.

    Args:
        image: as for `save_image`.

    Example:
        >>> png(np.zeros((2, 2, 3), np.uint8))[1:4]
        b'PNG'
    """
    file = io.BytesIO()
    _pillow(image).save(file, "PNG")
    return file.getvalue()


def save_gif(
    path: str | os.PathLike, frames: Iterable[np.ndarray], *, fps: float = 20.0, hold: float = 2.0
) -> None:
    """Writes an animation that repeats for ever, whole or not at all.

    Args:
        path: of the file, whatever its ending.
        frames: images [H, W, C] of one size, C = 1 or 3, uint8 or floating point in [-1, 1]; a
            generator is read one frame at a time.
        fps: frames a second, 1 to 50 (GIF counts in hundredths of a second).
        hold: seconds that the last frame stays.

    Raises:
        OSError: the path cannot be written; an older file is then still there.
    """
    if not 1 <= fps <= 50:
        raise ValueError(f"expected 1 to 50 frames a second, got {fps}")
    pages = [_pillow(frame).quantize(_COLOURS, dither=Image.Dither.NONE) for frame in frames]
    if not pages:
        raise ValueError("expected at least one frame, got none")
    if len(sizes := {page.size for page in pages}) > 1:
        raise ValueError(f"expected frames of one size, got {sorted(sizes)}")
    each = 10 * round(100 / fps)  # milliseconds
    durations = [each] * (len(pages) - 1) + [max(each, 10 * round(100 * hold))]
    atomic.write(
        path,
        lambda file: pages[0].save(
            file, "GIF", save_all=True, append_images=pages[1:], duration=durations, loop=0
        ),
    )


def _pillow(image: np.ndarray) -> Image.Image:
    image = images.check(np.asarray(image)[None])[0]
    return Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
