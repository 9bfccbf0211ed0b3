"""Samples as files: the ending says what is written."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from diffax import atomic
from diffax.codecs import BY_NAME, is_written
from diffax.image_range import to_uint8
from diffax.plotting.drawn import drawn
from diffax.plotting.files import save_gif, save_image
from diffax.plotting.images import evenly_spaced, image_grid
from diffax.plotting.vectors import scatter_gif

ENDINGS = (".png", ".gif", ".npz")
# Of the package's codecs of other data, for checks made before a model is opened.
_OWN_ENDINGS = tuple(
    ending for codec in BY_NAME.values() if is_written(codec) for ending in codec.endings
)
_MOST_FRAMES = 60


def needs_trajectory(path: str | Path) -> bool:
    """Whether this output shows the denoising and not only its end."""
    return _ending(Path(path)) == ".gif"


def check_output(path: str | Path, *, images: bool | None, codec: Any = None) -> None:
    """Refuse an output that cannot be written, before anything is computed. Nothing is made.

    Args:
        path: as for `export`.
        images: whether the samples will be images; None: not known yet, as is the codec.
        codec: what will have decoded them; of data with files of their own (`codecs.Written`).

    Raises:
        ValueError: an ending that is none of .png, .gif, .npz and the data's own; a folder for
            samples that are plain arrays.
        OSError: the folder cannot be made or written.
    """
    path = Path(path)
    ending = _ending(path)
    known, own = ENDINGS, codec.endings if is_written(codec) else ()
    if images is None:
        known, own = (*ENDINGS, *_OWN_ENDINGS), ()
    if ending not in ("", *known, *own):
        more = f"; or {', '.join(own)} of its {codec.kind}" if own else ""
        raise ValueError(
            f"--out ends in {path.suffix!r}; expected .png (a grid), .gif (the denoising), .npz "
            f"(arrays), or a folder (one file a sample){more}"
        )
    if not ending and images is False and not own:
        raise ValueError(_NO_FOLDER)
    folder = path.parent if ending else path
    above = (folder, *folder.absolute().parents)
    existing = next(place for place in above if os.path.lexists(place))
    try:
        tempfile.TemporaryFile(dir=existing).close()
    except OSError as error:
        raise OSError(f"cannot write to {folder}: {error.strerror or error}") from error


def export(
    path: str | Path,
    samples: np.ndarray,
    *,
    labels: np.ndarray | None = None,
    trajectory: np.ndarray | None = None,
    times: np.ndarray | None = None,
    metadata: Mapping[str, str] | None = None,
    captions: Sequence[str] | None = None,
    images: bool | None = None,
    codec: Any = None,
) -> None:
    """Write samples by the ending of `path`.

    Args:
        path: `.png`: a grid of images, a scatter of vectors, or lines of sequences; `.gif`: the
            denoising; `.npz`: `arr_0` (uint8 images `[N, H, W, C]`, else float32 or whole numbers
            `[N, ...]`) and `arr_1` (labels, where there are any); an ending of the codec's own,
            such as `.txt`; anything else: a folder of one file a sample.
        samples: images `[N, H, W, C]`, uint8 or floating point in [-1, 1]; vectors `[N, D]`; or
            other numbers `[N, ...]`, for `.npz` only.
        labels: int `[N]`.
        trajectory: for a GIF, `[K, N, ...]`, every state, noise first: of S steps K = S + 1.
        times: for a GIF, the K times shown above.
        captions: N texts, for the grid of a PNG.
        metadata: texts kept in every PNG.
        images: whether the samples are images; None: those of four axes are whose last is 1 or 3.
        codec: what decoded them; see `check_output`.

    Raises:
        ValueError: a GIF without a trajectory; a folder of what are no images; `.png` or `.gif` of
            what are neither images, vectors nor sequences.
        OSError: the path cannot be written; an older file is then still there.
    """
    path = Path(path)
    samples = np.asarray(samples)
    own = codec if is_written(codec) else None
    if images is None and own is None:
        images = samples.ndim == 4 and samples.shape[-1] in (1, 3)
    ending = _ending(path)
    if ending == ".npz":
        arrays = [to_uint8(samples) if images else _plain(samples)]
        arrays += [] if labels is None else [np.asarray(labels, np.int32)]
        atomic.write(path, lambda file: np.savez_compressed(file, *arrays))
    elif own is not None and ending in own.endings:
        atomic.write(path, own.to_file(samples, ending))
    elif own is not None and not ending:
        for i, sample in enumerate(samples):
            name = f"{i:05d}{own.endings[0]}"
            atomic.write(path / name, own.to_file(sample[None], own.endings[0]))
    elif not ending:
        if not images:
            raise ValueError(_NO_FOLDER)
        for i, image in enumerate(to_uint8(samples)):
            save_image(path / f"{i:05d}.png", image, metadata)
    elif own is None and not images and samples.ndim not in (2, 3):
        raise ValueError(
            f"{ending} shows images [N, H, W, C], vectors [N, D] or sequences [N, L, C], the "
            f"samples are {samples.dtype} {list(samples.shape)}: give --out the ending .npz"
        )
    elif ending == ".png":
        save_image(path, _page(samples, codec, images, captions), metadata)
    elif trajectory is None:
        raise ValueError("a GIF shows the denoising: expected the trajectory, got None")
    else:
        _export_gif(path, np.asarray(trajectory), times, images, own)


_NO_FOLDER = "a folder takes images, one PNG each: give --out an ending, .npz, or .png for vectors"


def _page(
    samples: np.ndarray,
    codec: Any,
    images: bool | None,
    captions: Sequence[str] | None = None,
) -> np.ndarray:
    """Samples as one image."""
    image = drawn(samples, codec, images=images, captions=captions)
    if image is None:
        raise ValueError(
            f"nobody can look at {codec.kind}: give --out an ending, {', '.join(codec.endings)}"
        )
    return image


def _plain(samples: np.ndarray) -> np.ndarray:
    """Whole numbers as they are, all others as float32."""
    return samples if samples.dtype.kind in "biu" else samples.astype(np.float32)


def _ending(path: Path) -> str:
    """Of a file's name, in small letters; none where the path is a folder."""
    return "" if path.is_dir() else path.suffix.lower()


def _export_gif(
    path: Path, trajectory: np.ndarray, times: np.ndarray | None, images: bool | None, codec: Any
) -> None:
    chosen = evenly_spaced(len(trajectory), _MOST_FRAMES)
    if times is not None and len(times) != len(trajectory):
        raise ValueError(
            f"expected a time for each of {len(trajectory)} states, noise first, got {len(times)}"
        )
    frames = trajectory[chosen]
    if not images and (codec is not None or frames.ndim == 4):  # data of a kind, sequences
        save_gif(path, (_page(frame, codec, images) for frame in frames))
        return
    shown = chosen if times is None else np.asarray(times)[chosen]
    titles = [f"step {i}" if times is None else f"t = {i:.4g}" for i in shown]
    if times is not None:
        titles[-1] = "sample"  # whose time may be the -1 before a schedule's first step
    if not images:
        scatter_gif(path, frames, titles)
        return
    pages = zip(frames, titles, strict=True)
    save_gif(path, (image_grid(x, min_width=256, title=title) for x, title in pages))
