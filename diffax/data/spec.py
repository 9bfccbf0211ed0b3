"""What a data set gives, said without reading it: columns, size, class names, mean and spread."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

LARGEST = 2**31  # numbers in one example


@dataclass(frozen=True)
class Column:
    """One entry of every example.

    Attributes:
        shape: of one example, without the batch axis.
        dtype: NumPy's name of the type; "str" for texts.
    """

    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class Spec:
    """What a data set gives.

    Attributes:
        columns: of an example, by the key under which a batch holds them: always "x"; "label"
            (int32, ()) where there are classes; "caption" (str, ()) where there are texts;
            "weight" (float32, ()) where examples count differently; "control" (uint8, [H, W, C])
            where every image has a second one.
        size: number of examples in one epoch.
        class_names: in the labels' order; empty where batches hold no label.
        mean: of floating-point data, else None: one number for each entry of the last axis of "x",
            over the whole training set.
        std: standard deviation, like `mean`; that of an entry that never changes is 1.
        rate: of waveforms, samples a second; None: "x" holds none.
        alphabet: of texts that are given as numbers, the characters in their order; else empty.

    Example:
        >>> spec = Spec({"x": Column((8, 8, 1), "uint8")}, size=1797)
        >>> spec.is_image, spec.shape, spec.num_classes
        (True, (8, 8, 1), 0)
        >>> Spec.from_json(spec.to_json()) == spec
        True
    """

    columns: Mapping[str, Column]
    size: int
    class_names: tuple[str, ...] = ()
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    rate: int | None = None
    alphabet: str = ""

    def __post_init__(self) -> None:
        """Checks that the parts fit together."""
        if "x" not in self.columns:
            raise ValueError(f"expected a column 'x', got {', '.join(self.columns) or 'none'}")
        if (self.mean is None) != (self.std is None):
            raise ValueError("expected both mean and std, or neither")
        for name, values in (("mean", self.mean), ("std", self.std)):
            if values is not None and len(values) != self.shape[-1]:
                raise ValueError(
                    f"expected {self.shape[-1]} numbers as {name}, one for each entry of the last "
                    f"axis of x, got {len(values)}"
                )

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one example of "x"."""
        return self.columns["x"].shape

    @property
    def is_image(self) -> bool:
        """Whether "x" holds images, uint8 [H, W, C]; all else are arrays of numbers."""
        return self.columns["x"].dtype == "uint8" and len(self.shape) == 3

    @property
    def num_classes(self) -> int:
        """Number of classes; 0 where batches hold no label."""
        return len(self.class_names)

    def blank(self) -> dict[str, np.ndarray]:
        """A batch of one example of these columns, all zeros and empty texts."""
        return {
            name: np.zeros((1, *column.shape), "U1" if column.dtype == "str" else column.dtype)
            for name, column in self.columns.items()
        }

    def to_json(self) -> dict[str, Any]:
        """As dicts, lists, texts and numbers."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Any) -> Spec:
        """The spec that `to_json` wrote.

        Raises:
            ValueError: something else.
        """
        try:
            columns = {
                str(key): Column(_shape(column["shape"]), _dtype(column["dtype"]))
                for key, column in data["columns"].items()
            }
            mean, std = (
                None if data[key] is None else tuple(map(_number, data[key]))
                for key in ("mean", "std")
            )
            rate = data.get("rate")  # older runs say nothing of it, nor of an alphabet
            return cls(
                columns,
                _count(data["size"]),
                tuple(map(_text, data["class_names"])),
                mean,
                std,
                rate=None if rate is None else _count(rate),
                alphabet=_text(data.get("alphabet", "")),
            )
        except (AttributeError, KeyError, OverflowError, TypeError) as error:
            raise ValueError(
                f"expected the spec of a data set (columns, size, class_names, mean, std): {error}"
            ) from error


def _shape(value: Any) -> tuple[int, ...]:
    shape = tuple(map(_count, value))
    if math.prod(shape) > LARGEST:
        raise TypeError(f"{reprlib.repr(shape)} has more than {LARGEST:,} entries")
    return shape


def _dtype(value: Any) -> str:
    if value != "str" and (not isinstance(value, str) or value not in np.sctypeDict):
        raise TypeError(f"{reprlib.repr(value)} is no type of numbers")
    return value


def _count(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 2**63:
        raise TypeError(f"{reprlib.repr(value)} is no count")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{reprlib.repr(value)} is no text")
    return value


def _number(value: Any) -> float:
    if type(value) not in (int, float) or not abs(value) < math.inf:
        raise TypeError(f"{reprlib.repr(value)} is no number")
    return float(value)
