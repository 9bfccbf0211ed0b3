"""Images, masks and sound named on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from diffax.commands.errors import UsageError
from diffax.data import audio_folder, pixels


def read_image(path: str, *, channels: int = 3, size: tuple[int, int] | None = None) -> np.ndarray:
    """An image, uint8 `[H, W, C]`.

    Args:
        path: PNG, JPEG, WebP, ...
        channels: 3 or 1.
        size: (height, width): the shorter side is resized and the middle kept; None: as it is.

    Raises:
        UsageError: there is no such file, or it is no image.
    """
    try:
        image = pixels.decode(path, channels=channels)
    except FileNotFoundError:
        raise UsageError(f"there is no image {path}") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error}") from None
    return image if size is None else pixels.fit(image, size)


def read_mask(path: str, of: str, *, size: tuple[int, int] | None = None) -> np.ndarray:
    """A mask, uint8 `[H, W, 1]`: white is made anew, black is kept.

    Args:
        path: of the mask.
        of: the image it belongs to, of the same size.
        size: as for `read_image`.

    Raises:
        UsageError: it cannot be read, or differs from the image in size.
    """
    mask = read_image(path, channels=1)
    theirs = read_image(of).shape[:2]
    if mask.shape[:2] != theirs:
        raise UsageError(
            f"--mask {path} is {mask.shape[1]}x{mask.shape[0]}, --init-image {of} is "
            f"{theirs[1]}x{theirs[0]}: resize one of them"
        )
    return mask if size is None else pixels.fit(mask, size)


def read_spectrogram(path: str, conditioner: Any, length: int) -> np.ndarray:
    """The spectrogram `[F, M]` of a sound, as a vocoder's conditioner takes it.

    Args:
        path: of a .wav or .flac file; it is resampled to the model's rate.
        conditioner: a `Spectrogram`.
        length: samples of the model's waveforms; a longer sound is cut, a shorter one ends in
            silence.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it cannot be read.
    """
    sound = audio_folder.read_sound(Path(path), rate=conditioner.rate)[:length]
    return conditioner.of(np.pad(sound, ((0, length - len(sound)), (0, 0))))
