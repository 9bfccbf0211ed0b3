"""Samples as files: the ending says what is written."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from diffax import atomic
from diffax.image_range import to_uint8
from diffax.plotting.files import save_gif, save_image
from diffax.plotting.images import evenly_spaced, image_grid
from diffax.plotting.vectors import scatter, scatter_gif

ENDINGS = (".png", ".gif", ".npz")
_MOST_FRAMES = 60


def needs_trajectory(path: str | Path) -> bool:
    """Whether this output shows the denoising and not only its end."""
    return _ending(Path(path)) == ".gif"


def check_output(path: str | Path, *, images: bool | None) -> None:
    """Refuse an output that cannot be written, before anything is computed. Nothing is made.

    Args:
        path: as for `export`.
        images: whether the samples will be images; None: not known yet.

    Raises:
        ValueError: an ending that is none of .png, .gif, .npz; a folder of PNGs for samples that
            are no images.
        OSError: the folder cannot be made or written.
    """
    path = Path(path)
    ending = _ending(path)
    if ending not in ("", *ENDINGS):
        raise ValueError(
            f"--out ends in {path.suffix!r}; expected .png (a grid), .gif (the denoising), .npz "
            "(arrays), or a folder (one PNG a sample)"
        )
    if not ending and images is False:
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
) -> None:
    """Write samples by the ending of `path`.

    Args:
        path: `.png`: a grid of the images, or a scatter of the vectors; `.gif`: the denoising;
            `.npz`: `arr_0` (uint8 images `[N, H, W, C]`, else float32 or whole numbers `[N, ...]`)
            and `arr_1` (labels, where there are any); anything else: a folder of one PNG an image.
        samples: images `[N, H, W, C]`, uint8 or floating point in [-1, 1]; vectors `[N, D]`; or
            other numbers `[N, ...]`, for `.npz` only.
        labels: int `[N]`.
        trajectory: for a GIF, `[K, N, ...]`, every state, noise first: of S steps K = S + 1.
        times: for a GIF, the K times shown above.
        captions: N texts, for the grid of a PNG.
        metadata: texts kept in every PNG.
        images: whether the samples are images; None: those of four axes are whose last is 1 or 3.

    Raises:
        ValueError: a GIF without a trajectory; a folder of what are no images; `.png` or `.gif` of
            what are neither images nor vectors.
        OSError: the path cannot be written; an older file is then still there.
    """
    path = Path(path)
    samples = np.asarray(samples)
    if images is None:
        images = samples.ndim == 4 and samples.shape[-1] in (1, 3)
    ending = _ending(path)
    if ending == ".npz":
        arrays = [to_uint8(samples) if images else _plain(samples)]
        arrays += [] if labels is None else [np.asarray(labels, np.int32)]
        atomic.write(path, lambda file: np.savez_compressed(file, *arrays))
    elif not ending:
        if not images:
            raise ValueError(_NO_FOLDER)
        for i, image in enumerate(to_uint8(samples)):
            save_image(path / f"{i:05d}.png", image, metadata)
    elif not images and samples.ndim != 2:
        raise ValueError(
            f"{ending} shows images [N, H, W, C] or vectors [N, D], the samples are "
            f"{samples.dtype} {list(samples.shape)}: give --out the ending .npz"
        )
    elif ending == ".png":
        page = image_grid(samples, captions=captions or None) if images else scatter(samples)
        save_image(path, page, metadata)
    elif trajectory is None:
        raise ValueError("a GIF shows the denoising: expected the trajectory, got None")
    else:
        _export_gif(path, np.asarray(trajectory), times, images)


_NO_FOLDER = "a folder takes images, one PNG each: give --out an ending, .npz, or .png for vectors"


def _plain(samples: np.ndarray) -> np.ndarray:
    """Whole numbers as they are, all others as float32."""
    return samples if samples.dtype.kind in "biu" else samples.astype(np.float32)


def _ending(path: Path) -> str:
    """Of a file's name, in small letters; none where the path is a folder."""
    return "" if path.is_dir() else path.suffix.lower()


def _export_gif(path: Path, trajectory: np.ndarray, times: np.ndarray | None, images: bool) -> None:
    chosen = evenly_spaced(len(trajectory), _MOST_FRAMES)
    if times is not None and len(times) != len(trajectory):
        raise ValueError(
            f"expected a time for each of {len(trajectory)} states, noise first, got {len(times)}"
        )
    frames = trajectory[chosen]
    shown = chosen if times is None else np.asarray(times)[chosen]
    titles = [f"step {i}" if times is None else f"t = {i:.4g}" for i in shown]
    if not images:
        scatter_gif(path, frames, titles)
        return
    pages = zip(frames, titles, strict=True)
    save_gif(path, (image_grid(x, min_width=256, title=title) for x, title in pages))
