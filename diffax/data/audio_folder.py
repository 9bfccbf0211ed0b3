"""The user's own sound: a folder of .wav and .flac files, its sub-folders as classes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from diffax import waveform
from diffax.data import cache, folder
from diffax.data.dataset import Dataset
from diffax.data.options import check_cache
from diffax.data.source import Batch, Source, columns
from diffax.data.spec import Column

ENDINGS = (".wav", ".flac")
_MOST_LOUDER = 10.0  # a file is made louder by so much at most: silence stays silence


class Chunk(NamedTuple):
    """A piece of a file: `length` samples from `start` on, at the folder's rate."""

    name: str
    start: int


@dataclass(frozen=True)
class AudioFolder:
    """Pieces of equal length of the sound in a folder, int16 [length, channels].

    Every .wav and .flac file in the folder and below (hidden ones left out), cut into pieces that
    follow each other; what is left at a file's end is left out, a file shorter than a piece is
    filled up with silence. Where all files lie in two or more sub-folders, the first-level
    sub-folder is the class. Needs `soundfile` (`pip install diffax[audio]`).

    A file that cannot be read is left out and named in the report.
    """

    dir: str | None = None
    """The folder."""

    length: int = 16_384
    """Samples of a piece."""

    rate: int | None = None
    """Samples a second: files of another rate are resampled. None: that of all files."""

    channels: Literal[1, 2] = 1
    """1 (the mean of a file's channels) or 2 (stereo; a mono file sounds on both sides)."""

    loudness: float | None = -20.0
    """Root mean square of every file in decibel of full scale, -60 to 0, as long as nothing clips
    and silence stays silence; None: files stay as loud as they are."""

    labels: bool = True
    """Give the class of every piece, where sub-folders make classes."""

    cache_mb: int = 4096
    """Pieces are kept in memory where all of them fit in this many MiB; 0: never."""

    def __post_init__(self) -> None:
        """Checks every value that can be judged without looking at the data."""
        if not 1 <= self.length <= 2**24:
            raise ValueError(f"data.length must be 1 to {2**24:,} samples, got {self.length}")
        if self.rate is not None and not 1000 <= self.rate <= 192_000:
            raise ValueError(
                f"data.rate must be 1,000 to 192,000 samples a second, got {self.rate}"
            )
        if self.channels not in (1, 2):
            raise ValueError(f"data.channels must be 1 or 2, got {self.channels}")
        if self.loudness is not None and not -60 <= self.loudness <= 0:
            raise ValueError(f"data.loudness must be -60 to 0 decibel, got {self.loudness}")
        check_cache(self.cache_mb)

    def load(self) -> Dataset:
        """Opens the folder.

        Raises:
            FileNotFoundError: no such folder, or no sound in it.
            ValueError: more than half of the files unreadable; files of different rates and no
                `rate`; `soundfile` is not installed.
        """
        if self.dir is None:
            raise ValueError("audio_folder needs data.dir, the folder of the .wav and .flac files")
        root = Path(self.dir).expanduser()
        names, others = folder.find(root, ENDINGS, "sound")
        if not names:
            raise FileNotFoundError(
                f"no sound in {root} or below it ({others:,} other files); "
                f"expected {', '.join(ENDINGS)}"
            )
        soundfile = library()
        names, headers, rejects = folder.whole(
            root, names, [_header(soundfile, root / name) for name in names], "files"
        )
        rate = self.rate or _only_rate(root, names, headers)
        chunks = [
            Chunk(name, start)
            for name, (frames, own) in zip(names, headers, strict=True)
            for start in _starts(math.ceil(frames * rate / own), self.length)
        ]
        class_names, labels = (
            folder.classes_of([c.name for c in chunks]) if self.labels else ((), None)
        )
        shape = (self.length, self.channels)

        def read(rows: np.ndarray) -> Batch:
            return {"x": np.stack([self._piece(root, chunks[i], rate) for i in rows])}

        layout = {"x": Column(shape, "int16")}
        read, cached = cache.keep(read, len(chunks), layout, self.cache_mb)

        def labelled(rows: np.ndarray) -> Batch:
            return read(rows) | ({} if labels is None else {"label": labels[rows]})

        seconds = sum(frames / own for frames, own in headers)
        notes = [f"{len(names):,} files, {seconds:,.1f} s, at {rate:,} samples a second"]
        notes += [f"{others:,} other files ignored"] if others else []
        source = Source(
            columns=columns(shape, "int16", label=labels is not None),
            size=len(chunks),
            read=labelled,
            class_names=class_names,
            labels=labels,
            rate=rate,
            cached=cached,
            notes=tuple(notes),
            rejects=rejects,
        )
        return Dataset("audio_folder", source)

    def _piece(self, root: Path, chunk: Chunk, rate: int) -> np.ndarray:
        """int16 [length, channels]."""
        sound = read_sound(root / chunk.name, rate=rate, channels=self.channels)
        if self.loudness is not None:
            sound = sound * _gain(sound, self.loudness)
        piece = sound[chunk.start : chunk.start + self.length]
        missing = self.length - len(piece)
        return waveform.to_int16(np.pad(piece, ((0, missing), (0, 0))))


def read_sound(path: Path, *, rate: int | None = None, channels: int = 1) -> np.ndarray:
    """A whole file as a waveform in [-1, 1], float32 `[L, channels]`.

    Args:
        path: of a .wav or .flac file.
        rate: samples a second, to which it is resampled; None: its own.
        channels: 1, the mean of the file's; or 2, the first two, or twice the only one.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it cannot be read, or `soundfile` is not installed.
    """
    soundfile = library()
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    try:
        sound, own = soundfile.read(path, dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, OSError) as error:
        raise ValueError(f"{path} cannot be read as sound: {error}") from error
    if not np.isfinite(sound).all():
        raise ValueError(f"{path} holds samples that are not finite; export it anew as 16 bit")
    if channels == 1:
        sound = sound.mean(axis=1, keepdims=True)
    else:
        sound = np.repeat(sound, 2, axis=1) if sound.shape[1] == 1 else sound[:, :2]
    return sound if rate is None or rate == own else resampled(sound, own, rate)


def resampled(sound: np.ndarray, old: int, new: int) -> np.ndarray:
    """A waveform `[L, C]` at another rate, `[ceil(L new / old), C]`, without aliases.

    Example:
        >>> resampled(np.zeros((441, 1), np.float32), 44_100, 16_000).shape
        (160, 1)
    """
    from scipy.signal import resample_poly  # slow to import: where it is needed

    common = math.gcd(old, new)
    return resample_poly(sound, new // common, old // common, axis=0).astype(np.float32)


def library() -> Any:
    """The module `soundfile`.

    Raises:
        ValueError: it is not installed.
    """
    try:
        import soundfile
    except (ImportError, OSError) as error:  # OSError: its libsndfile is missing
        raise ValueError(
            f"sound files are read by soundfile, which cannot be imported ({error}); "
            "pip install 'diffax[audio]'"
        ) from error
    return soundfile


def _header(soundfile: Any, path: Path) -> tuple[int, int] | Exception:
    """Frames and rate, or why the file is none."""
    try:
        info = soundfile.info(path)
    except (soundfile.SoundFileError, OSError) as error:
        return error
    if info.frames < 1 or info.samplerate < 1:
        return ValueError("no samples in it")
    return info.frames, info.samplerate


def _only_rate(root: Path, names: list[str], headers: list[tuple[int, int]]) -> int:
    rates = {rate: name for name, (_, rate) in zip(names, headers, strict=True)}
    if len(rates) > 1:
        some = ", ".join(f"{name} {rate:,}" for rate, name in sorted(rates.items())[:3])
        raise ValueError(
            f"the files in {root} have {len(rates)} rates ({some}, ...); set data.rate, for "
            f"instance {min(rates)}, to resample them"
        )
    return next(iter(rates))


def _starts(frames: int, length: int) -> Iterator[int]:
    """Where the pieces of a file begin."""
    return iter(range(0, max(frames - length, 0) + 1, length))


def _gain(sound: np.ndarray, loudness: float) -> float:
    """What brings a waveform to a loudness, without clipping."""
    wanted = 10 ** ((loudness - waveform.loudness(sound)) / 20)
    peak = float(np.abs(sound).max())
    return min(wanted, _MOST_LOUDER, 1 / peak) if peak > 0 else 1.0
