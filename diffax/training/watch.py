"""What the metrics of a recipe are shown of a run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import jax

from diffax.compilation import jit
from diffax.data import Dataset
from diffax.evaluation import Watched
from diffax.objectives import Mean, Objective
from diffax.training.config import Config

Evaluate = Callable[[Any, Any, Any, Any], tuple[Any, Any]]


class Subject(Protocol):
    """A run that is trained or read back: `Setup` or `Run`."""

    @property
    def objective(self) -> Objective:
        """As it was built."""

    @property
    def config(self) -> Config:
        """Resolved."""

    @property
    def dataset(self) -> Dataset:
        """What is trained on."""


def make_evaluate(subject: Subject) -> Evaluate:
    """The loss without dropout, compiled once for all evaluations of a run."""

    @jit
    def evaluate(trainable: Any, frozen: Any, batch: Any, key: Any) -> tuple[Any, Any]:
        return subject.objective.loss(trainable, frozen, batch, key, train=False)

    return evaluate


def watched(
    subject: Subject,
    evaluate: Evaluate,
    trainable: Any,
    frozen: Any,
    model: Any,
    options: Any = None,
) -> Watched:
    """A run as its metrics see it, with these parameters; `options` are of `generate`."""

    def loss(batch: Any, key: Any) -> dict[str, float]:
        columns = subject.objective.columns(batch)
        value, metrics = jax.device_get(evaluate(trainable, frozen, columns, key))
        figures = {"loss": float(value)}
        for name, metric in metrics.items():
            if not isinstance(metric, Mean):
                figures[name] = float(metric)
            elif metric.count:
                figures[name] = float(metric.total / metric.count)
        return figures

    return Watched(model, subject.config.data, subject.dataset, loss, options or {})
