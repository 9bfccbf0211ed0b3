"""Arrays from .npy and .npz files: uint8 pictures or points."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from diffax.data import picture
from diffax.data.config import DataConfig
from diffax.data.source import Batch, Source

_EXAMPLES = ("images", "x", "arr_0")
_LABELS = ("labels", "y", "arr_1")
_ROWS = 65_536  # of points read at a time for their mean and deviation


def load(config: DataConfig) -> Source:
    """The source of an array.

    Args:
        config: `dir` is a .npy file (read through a memory map, so it may be larger than memory;
            labels, if any, in NAME_labels.npy beside NAME.npy) or a .npz file with the examples
            under images, x or arr_0 and the labels, if any, under labels, y or arr_1. Examples:
            uint8 [N, H, W, C] or [N, H, W], or floating-point points [N, D]; labels: integers [N]
            from 0.

    Raises:
        FileNotFoundError: no such file.
        ValueError: another type or shape, labels that do not fit, points that are not finite.
    """
    if config.dir is None:
        raise ValueError("array needs data.dir, the path of a .npy or .npz file")
    path = Path(config.dir).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}; set data.dir to a .npy or .npz file")
    examples, labels = _open(path)
    labels = _check_labels(path, labels, len(examples) if examples.ndim else 0)
    classes = () if labels is None else tuple(str(i) for i in range(int(labels.max()) + 1))
    common = dict(classes=classes, labels=labels, notes=(f"from {path}",))
    if examples.dtype == np.uint8 and examples.ndim in (3, 4) and examples.size:
        return _pictures(config, path, examples, labels, common)
    if np.issubdtype(examples.dtype, np.floating) and examples.ndim == 2 and examples.size:
        return _points(config, path, examples, labels, common)
    raise ValueError(
        f"{path}: expected uint8 pictures [N, H, W, C] or [N, H, W], or floating-point points "
        f"[N, D]; got {examples.dtype} {list(examples.shape)}" + _remedy(examples)
    )


def _open(path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    try:
        if path.suffix == ".npy":
            beside = path.with_name(f"{path.stem}_labels.npy")
            labels = np.load(beside, allow_pickle=False) if beside.is_file() else None
            return np.load(path, mmap_mode="r", allow_pickle=False), labels
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as file:
                key = next((key for key in _EXAMPLES if key in file), None)
                if key is None:
                    raise KeyError(f"{path} holds {file.files}")
                labels = next((file[key] for key in _LABELS if key in file), None)
                return file[key], labels
    except KeyError as error:
        raise ValueError(
            f"{error.args[0]}; expected examples under one of {', '.join(_EXAMPLES)}"
        ) from error
    except (ValueError, EOFError, OSError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{path} cannot be read as plain numbers ({error}); arrays of Python objects are "
            "refused because opening them can run code"
        ) from error
    raise ValueError(f"expected a .npy or .npz file, got {path}")


def _check_labels(path: Path, labels: np.ndarray | None, size: int) -> np.ndarray | None:
    if labels is None:
        return None
    if labels.shape != (size,) or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(
            f"{path}: expected integer labels [{size}], one an example, "
            f"got {labels.dtype} {list(labels.shape)}"
        )
    if size and labels.min() < 0:
        raise ValueError(f"{path}: expected labels from 0, got {labels.min()}")
    return labels.astype(np.int32)


def _remedy(examples: np.ndarray) -> str:
    if np.issubdtype(examples.dtype, np.floating) and examples.ndim in (3, 4):
        return "; turn the pictures into uint8, 0 to 255, first"
    return ""


def _pictures(config, path, examples, labels, common) -> Source:
    if examples.ndim == 4 and examples.shape[1] in (1, 3) and examples.shape[3] not in (1, 3, 4):
        raise ValueError(
            f"{path}: expected pictures [N, H, W, C], got {list(examples.shape)}, which looks like "
            "[N, C, H, W]; transpose with array.transpose(0, 2, 3, 1)"
        )
    channels = examples.shape[3] if examples.ndim == 4 else 1
    shape = (*(config.stored_size or examples.shape[1:3]), channels)

    def read(indices: np.ndarray) -> Batch:
        images = np.asarray(examples[indices])
        images = images if images.ndim == 4 else images[..., None]
        batch = {"x": picture.fit_all(images, shape[:2])}
        return batch if labels is None else batch | {"label": labels[indices]}

    return Source(kind="image", shape=shape, size=len(examples), read=read, **common)


def _points(config, path, examples, labels, common) -> Source:
    mean, deviation = _moments(path, examples)
    if config.divisor is not None:
        mean, deviation = np.zeros_like(mean), np.full_like(deviation, config.divisor)

    def read(indices: np.ndarray) -> Batch:
        points = (examples[indices] - mean) / deviation
        batch = {"x": points.astype(np.float32)}
        return batch if labels is None else batch | {"label": labels[indices]}

    return Source(
        kind="points",
        shape=examples.shape[1:],
        size=len(examples),
        read=read,
        mean=mean,
        deviation=deviation,
        **common,
    )


def _moments(path: Path, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of every coordinate, float64; a constant one keeps 1."""
    total = np.zeros(points.shape[1])
    for start, block in _blocks(points):
        bad = np.flatnonzero(~np.isfinite(block).all(axis=1))
        if len(bad):
            raise ValueError(f"{path}: expected finite points, row {start + bad[0]} is not")
        total += block.sum(0)
    mean = total / len(points)
    square = sum(((block - mean) ** 2).sum(0) for _, block in _blocks(points))
    deviation = np.sqrt(square / len(points))
    return mean, np.where(deviation > 0, deviation, 1.0)


def _blocks(points: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    for start in range(0, len(points), _ROWS):
        yield start, np.asarray(points[start : start + _ROWS], np.float64)
