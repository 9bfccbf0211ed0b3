"""What every kind of data gives to `Dataset`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

Batch = dict[str, np.ndarray]


@dataclass(frozen=True)
class Source:
    """Random access to the examples of one set.

    Attributes:
        kind: "image" (uint8 [H, W, C]) or "points" (float32 [D]).
        shape: of one example as `read` gives it.
        size: number of examples.
        read: indices int64 [B] -> {"x": [B, *shape], "label": int32 [B] where there are classes,
            "index": int64 [B] where another example may have taken a broken one's place}. Safe to
            call from several threads.
        fresh: for sets without end: (seed, step, count) -> a batch of new examples.
        classes: names of the classes, in the labels' order; empty where there are none.
        labels: int32 [size], where all are known without reading the examples.
        captions: one text an example, or None.
        mean, deviation: of points: model space = (coordinates - mean) / deviation, float64 [D].
        cached: bytes that the decoded examples take in memory, 0 where they are decoded anew every
            time, None where nothing needs decoding.
        notes: lines for the report at the start.
        rejects: "name: reason" of what was left out; grows when a broken one is met later.
    """

    kind: Literal["image", "points"]
    shape: tuple[int, ...]
    size: int
    read: Callable[[np.ndarray], Batch]
    fresh: Callable[[int, int, int], Batch] | None = None
    classes: tuple[str, ...] = ()
    labels: np.ndarray | None = None
    captions: tuple[str, ...] | None = None
    mean: np.ndarray | None = None
    deviation: np.ndarray | None = None
    cached: int | None = None
    notes: tuple[str, ...] = ()
    rejects: list[str] = field(default_factory=list)
