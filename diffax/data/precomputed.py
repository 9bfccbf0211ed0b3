"""Data in another form, computed once and kept in a file: latents instead of images."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import IO

import numpy as np

from diffax import atomic
from diffax.data.dataset import Dataset
from diffax.data.options import ImageOptions
from diffax.data.source import Batch
from diffax.data.spec import Column

_LOOKED_AT = 256  # examples that a set's fingerprint is made of
_BLOCK = 128


def precomputed(
    dataset: Dataset,
    file: Path,
    encode: Callable[[np.ndarray], np.ndarray],
    column: Column,
    encoder: str,
) -> Dataset:
    """The data set with its "x" replaced by what `encode` makes of it.

    The file is read, or written, when the first example is asked for; one that belongs to other
    data or to another encoder is refused at once.

    Args:
        dataset: of images, without augmentation: that would need every version of every image.
        file: an .npz; made where it is missing.
        encode: uint8 `[B, H, W, C]` -> `[B, *column.shape]`.
        column: shape and type of one result.
        encoder: a fingerprint of `encode`.

    Raises:
        ValueError: data that change from epoch to epoch, or a file of other data or encoder.
    """
    options, source = dataset.options, dataset.source
    changing = options.flip or options.random_crop or source.fresh is not None
    if changing or source.arrange is not None:
        raise ValueError(
            f"latents in {file} are computed once: leave data.flip, data.random_crop and "
            "data.buckets out, or encode at every step (no codec.cache)"
        )
    made_of = {"encoder": encoder, "data": fingerprint_of(dataset)}
    if file.exists():
        _check(file, made_of)
    lock = threading.Lock()
    kept: list[np.ndarray] = []

    def read(rows: np.ndarray) -> Batch:
        with lock:
            if not kept:
                kept.append(_read(file) if file.exists() else _compute(dataset, encode, column))
                if not file.exists():
                    atomic.write(file, lambda out: _save(out, kept[0], made_of), durable=True)
        return dict(source.read(rows)) | {"x": kept[0][rows]}

    columns = dict(source.columns) | {"x": column}
    note = f"latents {list(column.shape)}, computed once, in {file}"
    latents = replace(source, columns=columns, read=read, notes=(*source.notes, note))
    return Dataset(dataset.title, latents, ImageOptions())


def fingerprint_of(dataset: Dataset) -> str:
    """SHA-256, in hexadecimal, of what a set says of itself and of 256 of its examples.

    Args:
        dataset: of numbers.
    """
    digest = hashlib.sha256(json.dumps(dataset.spec.to_json(), sort_keys=True).encode())
    count = min(_LOOKED_AT, dataset.spec.size)
    rows = np.linspace(0, dataset.spec.size - 1, count).astype(np.int64)
    digest.update(np.ascontiguousarray(dataset.examples(rows)["x"]).tobytes())
    return digest.hexdigest()


def _compute(
    dataset: Dataset, encode: Callable[[np.ndarray], np.ndarray], column: Column
) -> np.ndarray:
    out = np.empty((dataset.spec.size, *column.shape), column.dtype)
    done = 0
    for block in dataset.blocks(_BLOCK):
        images = block["x"]
        # The last block is filled up, so that one program serves all.
        full = images[np.arange(min(_BLOCK, len(out))) % len(images)]
        out[done : done + len(images)] = encode(full)[: len(images)]
        done += len(images)
    return out


def _save(out: IO[bytes], latents: np.ndarray, made_of: dict[str, str]) -> None:
    np.savez(out, x=latents, made_of=np.array(json.dumps(made_of)))


def _read(file: Path) -> np.ndarray:
    with np.load(file) as held:
        return held["x"]


def _check(file: Path, made_of: dict[str, str]) -> None:
    try:
        with np.load(file) as held:
            found = json.loads(str(held["made_of"]))
        found = {name: str(found[name]) for name in made_of}
    except Exception as error:  # whatever the file holds, it is no cache
        raise ValueError(
            f"{file} is no file of latents ({error}); give codec.cache another name"
        ) from error
    what = {"encoder": "another autoencoder", "data": "other data"}
    for name, mine in made_of.items():
        if found[name] != mine:
            raise ValueError(
                f"{file} holds latents made of {what[name]} (fingerprint {found[name][:12]}, here "
                f"it is {mine[:12]}); remove it to compute them anew, or give codec.cache another "
                "name"
            )
