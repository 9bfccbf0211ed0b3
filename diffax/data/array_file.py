"""The user's own arrays, from .npy and .npz files: images, vectors, sequences, latents."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from diffax.data import npy, pixels
from diffax.data.dataset import Dataset
from diffax.data.moments import moments
from diffax.data.options import ImageOptions
from diffax.data.source import Batch, Source, columns

MOST_CLASSES = 100_000
_EXAMPLES = ("images", "x", "arr_0")
_LABELS = ("labels", "y", "arr_1")
_CAPTIONS = ("captions",)
_BLOCK = 2**22  # numbers read at a time for their mean and standard deviation


@dataclass(frozen=True)
class ArrayFile(ImageOptions):
    """The examples of one array: uint8 images, or floating-point arrays of any shape.

    A .npy file is read through a memory map, so it may be larger than memory; its labels and
    captions lie beside NAME.npy in NAME_labels.npy and NAME_captions.npy. A .npz file holds the
    examples under images, x or arr_0, the labels under labels, y or arr_1, the captions under
    captions.

    Examples: uint8 images [N, H, W, C] or [N, H, W], or floating-point numbers [N, ...]: vectors
    [N, D], sequences [N, L, C], latents [N, h, w, C]. Labels: integers [N] from 0. Captions: texts
    [N].
    """

    dir: str | None = None
    """The .npy or .npz file."""

    labels: bool = True
    """Give the class of every example, where the file has labels."""

    captions: bool = False
    """Give the text of every example as the batches' column "caption"."""

    def load(self) -> Dataset:
        """Opens the file.

        Raises:
            FileNotFoundError: no such file.
            ValueError: another type or shape; labels or captions that do not fit or are wanted and
                missing; numbers that are not finite; options for images where there are none.
        """
        if self.dir is None:
            raise ValueError("array needs data.dir, the path of a .npy or .npz file")
        path = Path(self.dir).expanduser()
        if not path.is_file():
            raise FileNotFoundError(f"there is no file {path}; set data.dir to a .npy or .npz file")
        x, labels, captions = self._open(path)
        _check_examples(path, x)
        extra: Batch = {}
        if labels is not None:
            extra["label"] = _checked_labels(path, labels, len(x))
        if self.captions:
            extra["caption"] = _checked_captions(path, captions, len(x))
        mean, std = (None, None) if x.dtype == np.uint8 else moments(_blocks(x), path)
        size = self.stored_size if x.dtype == np.uint8 else None
        shape = (*x.shape[1:], 1) if x.dtype == np.uint8 and x.ndim == 3 else x.shape[1:]

        def read(indices: np.ndarray) -> Batch:
            rows = np.asarray(x[indices])
            if x.dtype == np.uint8:
                rows = pixels.fit_all(rows.reshape(-1, *shape), size)
            else:
                rows = rows.astype(np.float32)
            return {"x": rows} | {key: value[indices] for key, value in extra.items()}

        source = Source(
            columns=columns(
                shape if size is None else (*size, shape[-1]),
                "uint8" if x.dtype == np.uint8 else "float32",
                label="label" in extra,
                caption="caption" in extra,
            ),
            size=len(x),
            read=read,
            class_names=_class_names(extra.get("label")),
            labels=extra.get("label"),
            mean=mean,
            std=std,
            notes=(f"from {path}", *_notes(extra.get("caption"))),
        )
        return Dataset("array", source, self)

    def _open(self, path: Path) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
        """Examples, labels, captions; None: there are none, or they are not wanted."""
        if path.suffix == ".npy":
            found = {"x": npy.open_npy(path)}
            for name, wanted in (("labels", self.labels), ("captions", self.captions)):
                beside = path.with_name(f"{path.stem}_{name}.npy")
                if wanted and beside.is_file():
                    found[name] = npy.open_npy(beside)
        elif path.suffix == ".npz":
            keys = next(([key] for key in _EXAMPLES if key in npy.names(path)), [])
            keys += _LABELS if self.labels else ()
            keys += _CAPTIONS if self.captions else ()
            found = npy.read_npz(path, keys)
        else:
            raise ValueError(f"expected a .npy or .npz file, got {path}")
        x, labels, captions = (
            next((found[key] for key in keys if key in found), None)
            for keys in (_EXAMPLES, _LABELS, _CAPTIONS)
        )
        if x is None:
            raise ValueError(
                f"{path} holds {npy.names(path)}; expected examples under one of "
                f"{', '.join(_EXAMPLES)}"
            )
        return x, labels, captions


def _check_examples(path: Path, x: np.ndarray) -> None:
    shape = list(x.shape)
    is_image = x.dtype == np.uint8 and x.ndim in (3, 4)
    if not x.size or not (is_image or (np.issubdtype(x.dtype, np.floating) and x.ndim > 1)):
        raise ValueError(
            f"{path}: expected uint8 images [N, H, W, C] or [N, H, W], or floating-point numbers "
            f"[N, ...], got {x.dtype} {shape}"
        )
    if is_image and x.ndim == 4 and shape[1] in (1, 3) and shape[3] not in (1, 3, 4):
        raise ValueError(
            f"{path}: expected images [N, H, W, C], got {shape}, which looks like [N, C, H, W]; "
            "transpose with np.ascontiguousarray(array.transpose(0, 2, 3, 1))"
        )


def _checked_labels(path: Path, labels: np.ndarray, size: int) -> np.ndarray:
    if labels.shape != (size,) or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(
            f"{path}: expected integer labels [{size}], one an example, "
            f"got {labels.dtype} {list(labels.shape)}"
        )
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= MOST_CLASSES:
        raise ValueError(
            f"{path}: expected labels from 0 to {MOST_CLASSES - 1:,}, got {low} to {high}; "
            "number the classes 0, 1, 2, ... or set data.labels to False"
        )
    return np.array(labels, np.int32)


def _checked_captions(path: Path, captions: np.ndarray | None, size: int) -> np.ndarray:
    if captions is None:
        raise ValueError(
            f"data.captions is on, but {path} has none: expected texts [{size}] under "
            f"{_CAPTIONS[0]} in a .npz file, or in {path.stem}_captions.npy"
        )
    if captions.shape != (size,) or captions.dtype.kind != "U":
        raise ValueError(
            f"{path}: expected captions as texts [{size}], one an example, "
            f"got {captions.dtype} {list(captions.shape)}"
        )
    return np.array(captions)


def _class_names(labels: np.ndarray | None) -> tuple[str, ...]:
    return () if labels is None else tuple(str(i) for i in range(int(labels.max()) + 1))


def _notes(captions: np.ndarray | None) -> tuple[str, ...]:
    return () if captions is None else (f"captions: {len(captions):,}, the first: {captions[0]}",)


def _blocks(x: np.ndarray) -> Iterator[np.ndarray]:
    rows = max(1, _BLOCK // math.prod(x.shape[1:]))
    return (np.asarray(x[start : start + rows]) for start in range(0, len(x), rows))
