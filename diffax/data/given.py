"""Data that a script hands over: arrays, or anything with a length that gives examples."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from diffax.data.dataset import Dataset
from diffax.data.moments import moments
from diffax.data.source import Batch, Source
from diffax.data.spec import Column

_PROBES = 8  # examples, spread over the set, that the fingerprint looks at
_BLOCK = 1024  # examples read at a time where all are looked at
_MOST = 2**40  # a grain set that repeats says it has 2**63 - 1


@dataclass(frozen=True)
class Given:
    """A script's own data, as `given` wraps them. A run's folder keeps what they look like."""

    dataset: Dataset | None = field(
        default=None, compare=False, repr=False, metadata={"given": True}
    )
    """The data themselves; None where the run was read from its folder."""
    size: int = 0
    """Number of examples."""
    columns: tuple[str, ...] = ()
    """What an example holds: name, type and shape."""
    fingerprint: str = ""
    """Of some examples."""

    def load(self) -> Dataset:
        """The data.

        Raises:
            ValueError: they were a script's, and only it has them.
        """
        if self.dataset is None:
            raise ValueError(
                f"the run's data ({self.size:,} x {', '.join(self.columns)}) were given by a "
                "script, and its folder does not hold them; continue it from that script"
            )
        return self.dataset


def given(data: Any, class_names: tuple[str, ...] = ()) -> Any:
    """Any data as what a run takes.

    An example is a dict of arrays: "x" (uint8 [H, W, C] or [H, W] for images, floating-point
    numbers of any shape for all else) and, where there are any, "label" (an integer from 0),
    "caption" (a text) and "weight" (a number). An array alone is "x", a pair is "x" and "label". An
    example is read again whenever its turn comes, perhaps by several threads, and should then be
    the same.

    Args:
        data: an array [N, ...]; a dict of arrays, each [N, ...]; anything with a length and
            `data[i]`, such as a list, a data source or `MapDataset` of grain, or a data set of
            PyTorch or Hugging Face; a `Dataset`; or a noun of `diffax.data`, which stays as it is.
        class_names: in the labels' order. Without them, and for floating-point data, all examples
            are read once at the start.

    Raises:
        ValueError: none of these, examples of different shapes, or numbers that are not finite.

    Example:
        >>> data = given({"x": np.zeros((10, 8, 8), np.uint8), "label": np.arange(10) % 2})
        >>> data.size, data.columns, data.load().spec.class_names
        (10, ('x uint8 [8, 8, 1]', 'label int32 []'), ('0', '1'))
    """
    if hasattr(data, "load") and not isinstance(data, Dataset):
        return data
    dataset = data if isinstance(data, Dataset) else _dataset(data, class_names)
    columns = dataset.spec.columns.items()
    return Given(
        dataset=dataset,
        size=dataset.spec.size,
        columns=tuple(f"{name} {one.dtype} {list(one.shape)}" for name, one in columns),
        fingerprint=_fingerprint(dataset),
    )


def _dataset(data: Any, class_names: tuple[str, ...]) -> Dataset:
    size, get = _access(data)
    if not 0 < size < _MOST:
        raise ValueError(
            f"expected at least one example and an end, got data of length {size:,}; a run repeats "
            "them by itself, in an order of its own"
        )
    columns = {name: _column(name, array[0]) for name, array in get(np.zeros(1, int)).items()}

    def read(rows: np.ndarray) -> Batch:
        return {name: _as(columns[name], array, rows) for name, array in get(rows).items()}

    def blocks(name: str) -> Iterator[np.ndarray]:
        starts = range(0, size, _BLOCK)
        return (read(np.arange(i, min(i + _BLOCK, size)))[name] for i in starts)

    mean = std = labels = None
    if columns["x"].dtype == "float32":
        mean, std = moments(blocks("x"), "x")
    if "label" in columns and not class_names:
        labels = np.concatenate(list(blocks("label")))
        if labels.min() < 0:
            raise ValueError(f"expected labels from 0, got {labels.min()}")
        class_names = tuple(map(str, range(int(labels.max()) + 1)))
    source = Source(columns, size, read, class_names=class_names, labels=labels, mean=mean, std=std)
    return Dataset("given", source)


def _access(data: Any) -> tuple[int, Callable[[np.ndarray], Batch]]:
    """Number of examples, and rows -> columns as they come."""
    if hasattr(data, "shape") and hasattr(data, "dtype"):
        data = {"x": data}
    if isinstance(data, Mapping):
        arrays = {name: np.asarray(value) for name, value in data.items()}
        sizes = {name: len(array) if array.ndim else None for name, array in arrays.items()}
        if len(set(sizes.values())) != 1 or None in sizes.values():
            raise ValueError(f"expected arrays of one length, got {sizes or 'none'}")
        _check_names(arrays)
        return next(iter(sizes.values())) or 0, lambda rows: {n: a[rows] for n, a in arrays.items()}
    if not (hasattr(data, "__len__") and hasattr(data, "__getitem__")):
        raise ValueError(
            "expected an array, a dict of arrays, or data with a length and data[i] (of grain a "
            f"data source or MapDataset, no IterDataset), got {type(data).__name__}"
        )

    at: Callable[[int], Any] = data.__getitem__

    def get(rows: np.ndarray) -> Batch:
        examples = [_example(at(int(i)), int(i)) for i in rows]
        names = examples[0]
        try:
            return {name: np.stack([one[name] for one in examples]) for name in names}
        except (ValueError, KeyError) as error:
            raise ValueError(
                f"examples {rows.min()} to {rows.max()} are not alike: {error}"
            ) from error

    return len(data), get


def _example(value: Any, index: int) -> dict[str, np.ndarray]:
    if value is None:
        raise ValueError(
            f"example {index} is None: data that leave some out, such as a filtered MapDataset, "
            "have no fixed places; make a list of what is left"
        )
    if isinstance(value, tuple) and len(value) == 2:  # as torchvision's sets give them
        value = {"x": value[0], "label": value[1]}
    columns = value if isinstance(value, Mapping) else {"x": value}
    _check_names(columns)
    return {name: np.asarray(one) for name, one in columns.items()}


def _check_names(columns: Mapping[str, Any]) -> None:
    if "x" not in columns:
        raise ValueError(
            f"expected examples with x (and label, caption, weight), got {', '.join(columns)}"
        )


def _column(name: str, example: np.ndarray) -> Column:
    """How batches hold what an example has under a name."""
    kind, shape = example.dtype.kind, example.shape
    if kind in "UT" and name != "x":
        return Column(shape, "str")
    if name == "x" and example.dtype == np.uint8:
        return Column((*shape, 1) if len(shape) == 2 else shape, "uint8")
    if kind in "iu":
        return Column(shape, "int32")
    if kind == "f" or example.dtype.name == "bfloat16":
        return Column(shape, "float32")
    raise ValueError(f"expected {name} as numbers, got {example.dtype} {list(shape)}")


def _as(column: Column, array: np.ndarray, rows: np.ndarray) -> np.ndarray:
    if column.dtype == "str":
        return array.astype(str)
    try:
        return array.astype(column.dtype).reshape(len(rows), *column.shape)
    except ValueError:
        raise ValueError(
            f"example {rows[0]} has the shape {list(array.shape[1:])}, the first one "
            f"{list(column.shape)}; all should have one"
        ) from None


def _fingerprint(dataset: Dataset) -> str:
    """Of the columns and some examples; "changes" where one is another when read again."""
    size = dataset.spec.size
    rows = np.unique(np.linspace(0, size - 1, _PROBES).astype(np.int64))
    digests = []
    for _ in range(2):
        digest = hashlib.sha256()
        for name, array in sorted(dataset.examples(rows).items()):
            content = "\0".join(array) if array.dtype.kind == "U" else array.tobytes()
            digest.update(f"{name} {array.shape} ".encode())
            digest.update(content.encode() if isinstance(content, str) else content)
        digests.append(digest.hexdigest()[:16])
    return digests[0] if digests[0] == digests[1] else "changes"
