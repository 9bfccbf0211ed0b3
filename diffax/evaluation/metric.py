"""Metrics during training: a noun each, computed on the averaged parameters every so many steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from diffax.data import Dataset


@dataclass(frozen=True)
class Watched:
    """What a metric may look at.

    Attributes:
        model: the `Model` with the averaged parameters; None for objectives that make none.
        data: the recipe's data noun, such as `Digits(split="train")`.
        dataset: what is trained on.
        loss: `(batch of columns, key) -> {name: float}`: the objective's loss and metrics, without
            dropout, with the averaged parameters.
    """

    model: Any
    data: Any
    dataset: Dataset
    loss: Callable[[Any, Any], dict[str, float]]


class Metric(Protocol):
    """A figure of a run; a frozen dataclass, so that a recipe can hold it.

    Attributes:
        better: for every name that it gives, "lower" or "higher".
    """

    better: ClassVar[Mapping[str, str]]

    def __call__(self, watched: Watched) -> dict[str, float]:
        """The figures, by name."""


@dataclass(frozen=True)
class Evaluation:
    """Which metrics are computed while training."""

    every: int = 0
    """Steps between evaluations; 0: none."""
    metrics: tuple[Any, ...] = ()
    """Which, such as `(HeldOutLoss(),)`."""

    def __post_init__(self) -> None:
        """Checks that both fit together."""
        if self.every < 0:
            raise ValueError(f"evaluation.every must be >= 0, got {self.every}")
        if self.every and not self.metrics:
            raise ValueError("evaluation.every needs evaluation.metrics: say which")

    @property
    def better(self) -> dict[str, str]:
        """ "lower" or "higher", by name, for all metrics."""
        return {name: way for metric in self.metrics for name, way in metric.better.items()}
