"""What every kind of data gives to `Dataset`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from diffax.data.spec import Column

Batch = dict[str, np.ndarray]


@dataclass(frozen=True)
class Source:
    """Random access to the examples of one set.

    Attributes:
        columns: of an example as `read` gives it, by key: "x" (uint8 [H, W, C], or float32 of any
            shape), and where there are any "label" (int32), "caption" (str) and "weight" (float32,
            a factor on the example's loss).
        size: number of examples.
        read: indices int64 [B] -> the columns, each [B, ...]. Safe to call from several threads.
        group: so many examples in a row are visited together; `size` is a multiple of it.
        arrange: for examples of several shapes: (seed, step, batch size) -> the rows of a batch,
            which have one; of other rows, `read` gives all the first one's.
        fresh: for sets without end: (seed, step, count) -> a batch of new examples.
        class_names: in the labels' order; empty where there are none.
        labels: int32 [size], where all are known without reading the examples.
        alphabet: of texts that are given as numbers, the characters in their order.
        mean, std: of float data, as in `Spec`.
        rate: of waveforms, samples a second.
        cached: bytes that the decoded examples take in memory, 0 where they are decoded anew every
            time, None where nothing needs decoding.
        fingerprint: SHA-256 over all that the set is made of, where it is at hand; a run whose data
            have another one is not continued.
        notes: lines for the report at the start.
        rejects: "name: reason" of what was left out; grows when a broken one is met later.
    """

    columns: dict[str, Column]
    size: int
    read: Callable[[np.ndarray], Batch]
    group: int = 1
    arrange: Callable[[int, int, int], np.ndarray] | None = None
    fresh: Callable[[int, int, int], Batch] | None = None
    class_names: tuple[str, ...] = ()
    labels: np.ndarray | None = None
    alphabet: str = ""
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    rate: int | None = None
    cached: int | None = None
    fingerprint: str = ""
    notes: tuple[str, ...] = ()
    rejects: list[str] = field(default_factory=list)


def columns(
    shape: tuple[int, ...], dtype: str, *, label: bool = False, caption: bool = False
) -> dict[str, Column]:
    """The columns of examples of one shape and type, with a label and a caption where wanted."""
    out = {"x": Column(tuple(map(int, shape)), dtype)}
    out |= {"label": Column((), "int32")} if label else {}
    return out | ({"caption": Column((), "str")} if caption else {})
