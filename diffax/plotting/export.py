"""Samples as files: the ending says what is written."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from diffax.plotting.files import replace, save_gif, save_image
from diffax.plotting.images import image_grid, to_uint8
from diffax.plotting.points import points_gif, scatter

_MOST_FRAMES = 60


def needs_trajectory(path: str | Path) -> bool:
    """Whether this output shows the denoising and not only its end."""
    return Path(path).suffix.lower() == ".gif"


def check_output(path: str | Path) -> None:
    """Refuse an output that cannot be written, before anything is computed.

    Raises:
        ValueError: an ending that is none of .png, .gif, .npz.
        OSError: the folder cannot be made or written.
    """
    path = Path(path)
    if path.suffix and path.suffix.lower() not in (".png", ".gif", ".npz") and not path.is_dir():
        raise ValueError(
            f"--out ends in {path.suffix!r}; expected .png (a grid), .gif (the denoising), .npz "
            "(arrays), or a folder (one PNG a sample)"
        )
    folder = path.parent if path.suffix and not path.is_dir() else path
    probe = folder / f".{path.name or 'out'}.probe"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
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
) -> None:
    """Write samples by the ending of `path`.

    Args:
        path: `.png`: a grid of the images, or a scatter of the points; `.gif`: the denoising;
            `.npz`: `arr_0` (uint8 `[N, H, W, C]`, or float32 points `[N, D]`) and `arr_1` (labels,
            where there are any); anything else: a folder of one PNG an image.
        samples: images `[N, H, W, C]` in [-1, 1], or points `[N, D]`.
        labels: int `[N]`.
        trajectory: for a GIF, `[S, N, ...]`, every state, noise first.
        times: for a GIF, the S times shown above points.
        metadata: texts kept in every PNG.

    Raises:
        ValueError: a GIF without a trajectory, or a folder of points.
        OSError: the path cannot be written; an older file is then still there.
    """
    path = Path(path)
    samples = np.asarray(samples)
    images = samples.ndim == 4
    kind = path.suffix.lower() if not path.is_dir() else ""
    if kind == ".npz":
        arrays = [to_uint8(samples) if images else samples.astype(np.float32)]
        arrays += [] if labels is None else [np.asarray(labels, np.int32)]
        replace(path, lambda file: np.savez_compressed(file, *arrays))
    elif kind == ".png":
        save_image(path, image_grid(samples) if images else scatter(samples), metadata)
    elif kind == ".gif":
        if trajectory is None:
            raise ValueError("a GIF shows the denoising: expected the trajectory, got None")
        _export_gif(path, np.asarray(trajectory), times)
    elif images:
        for i, image in enumerate(to_uint8(samples)):
            save_image(path / f"{i:05d}.png", image, metadata)
    else:
        raise ValueError("points are no pictures: give --out an ending, .png, .gif or .npz")


def _export_gif(path: Path, trajectory: np.ndarray, times: np.ndarray | None) -> None:
    chosen = np.unique(np.rint(np.linspace(0, len(trajectory) - 1, _MOST_FRAMES)).astype(int))
    frames = trajectory[chosen]
    if frames.ndim == 5:
        save_gif(path, (image_grid(frame) for frame in frames))
        return
    times = chosen if times is None else np.asarray(times)[chosen]
    points_gif(path, frames, [f"t = {time:g}" for time in times])
