"""Picture files, written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image, PngImagePlugin

from diffax.plotting import images


def save_image(
    path: str | os.PathLike, image: np.ndarray, metadata: Mapping[str, str] | None = None
) -> None:
    """Writes a PNG, whole or not at all; folders on the way are made.

    Args:
        path: of the file, whatever its ending.
        image: [H, W, C] with C = 1 or 3, as `to_uint8` takes it.
        metadata: texts kept in the file (PNG text chunks; `Image.open(path).text` reads them).

    Raises:
        OSError: the path cannot be written; an older file is then still there.
    """
    picture = _pillow(image)
    info = PngImagePlugin.PngInfo()
    for key, text in (metadata or {}).items():
        info.add_itxt(key, text)
    replace(path, lambda file: picture.save(file, "PNG", pnginfo=info))


def save_gif(
    path: str | os.PathLike, frames: Iterable[np.ndarray], *, fps: float = 20.0, hold: float = 2.0
) -> None:
    """Writes an animation that repeats for ever, whole or not at all.

    Args:
        path: of the file, whatever its ending.
        frames: images [H, W, C] of one size, C = 1 or 3, as `to_uint8` takes them; a generator is
            read one frame at a time.
        fps: frames a second, 1 to 50 (GIF counts in hundredths of a second).
        hold: seconds that the last frame stays.

    Raises:
        OSError: the path cannot be written; an older file is then still there.
    """
    if not 1 <= fps <= 50:
        raise ValueError(f"expected 1 to 50 frames a second, got {fps}")
    pictures = [_pillow(frame).quantize(256, dither=Image.Dither.NONE) for frame in frames]
    if not pictures:
        raise ValueError("expected at least one frame, got none")
    if len(sizes := {picture.size for picture in pictures}) > 1:
        raise ValueError(f"expected frames of one size, got {sorted(sizes)}")
    each = 10 * round(100 / fps)  # milliseconds
    durations = [each] * (len(pictures) - 1) + [max(each, 10 * round(100 * hold))]
    replace(
        path,
        lambda file: pictures[0].save(
            file, "GIF", save_all=True, append_images=pictures[1:], duration=durations, loop=0
        ),
    )


def _pillow(image: np.ndarray) -> Image.Image:
    image = images.check(np.asarray(image)[None])[0]
    return Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)


def replace(path: str | os.PathLike, write: Callable[[IO[bytes]], None]) -> None:
    """Writes a file beside its place first, so that a failure leaves the older one whole."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            write(file)
        os.replace(temporary, path)
    except OSError as error:
        raise OSError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):  # it is gone where all went well
            temporary.unlink()
