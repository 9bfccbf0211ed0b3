"""Data with the noise that they were made from, for reflow."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from diffax.data import npy
from diffax.data.dataset import Dataset
from diffax.data.source import Batch, Source
from diffax.data.spec import Column


@dataclass(frozen=True)
class Pairs:
    """Samples of a model as column "x", and the noise each was made from as "noise".

    The .npz file holds both, in model space, as `x` and `noise`, floats of one shape [N, ...], and
    where the model has classes the integers `label` [N]; `diffax.generation.save_pairs` writes it.
    """

    dir: str | None = None
    """The .npz file."""

    def load(self) -> Dataset:
        """Opens the file.

        Raises:
            FileNotFoundError: no such file.
            ValueError: other arrays, or numbers that are not finite.
        """
        if self.dir is None:
            raise ValueError("pairs need data.dir, the path of a .npz file")
        path = Path(self.dir).expanduser()
        if not path.is_file():
            raise FileNotFoundError(
                f"there is no file {path}; set data.dir to a .npz file of pairs"
            )
        arrays = npy.read_npz(path, ["x", "noise", "label"])
        _check(path, arrays)
        columns = {name: _column(name, value) for name, value in arrays.items()}
        names = tuple(map(str, range(int(arrays["label"].max()) + 1))) if "label" in arrays else ()
        flat = arrays["x"].reshape(-1, arrays["x"].shape[-1]).astype(np.float64)
        spread = flat.std(axis=0)

        def read(indices: np.ndarray) -> Batch:
            return {
                name: np.asarray(value[indices], columns[name].dtype)
                for name, value in arrays.items()
            }

        source = Source(
            columns=columns,
            size=len(arrays["x"]),
            read=read,
            class_names=names,
            labels=arrays.get("label"),
            mean=tuple(flat.mean(axis=0).tolist()),
            std=tuple(np.where(spread > 0, spread, 1.0).tolist()),
            notes=(f"from {path}",),
        )
        return Dataset("pairs", source)


def _column(name: str, value: np.ndarray) -> Column:
    return Column(value.shape[1:], "int32" if name == "label" else "float32")


def _check(path: Path, arrays: dict[str, np.ndarray]) -> None:
    missing = [name for name in ("x", "noise") if name not in arrays]
    if missing:
        raise ValueError(
            f"{path} has no array {', '.join(missing)}; expected x and noise, as "
            "diffax.generation.save_pairs writes them"
        )
    x, noise = arrays["x"], arrays["noise"]
    floats = all(np.issubdtype(v.dtype, np.floating) for v in (x, noise))
    if not (floats and x.shape == noise.shape and x.ndim > 1 and len(x)):
        raise ValueError(
            f"{path}: expected x and noise as floats of one shape [N, ...], got {x.dtype} "
            f"{list(x.shape)} and {noise.dtype} {list(noise.shape)}"
        )
    if not (np.isfinite(x).all() and np.isfinite(noise).all()):
        raise ValueError(f"{path}: expected finite numbers, x or noise has others")
    label = arrays.get("label")
    if label is not None and not (
        label.shape == (len(x),) and np.issubdtype(label.dtype, np.integer) and label.min() >= 0
    ):
        raise ValueError(f"{path}: expected integer labels [{len(x)}] from 0, one an example")
