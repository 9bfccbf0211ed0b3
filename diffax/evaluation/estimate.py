"""A figure with its spread."""

from __future__ import annotations

from typing import NamedTuple


class Estimate(NamedTuple):
    """A figure that was computed several times.

    Attributes:
        mean: over subsets or splits: the figure itself.
        std: standard deviation over them.
    """

    mean: float
    std: float
