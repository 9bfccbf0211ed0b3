"""What the metrics of a recipe are shown of a run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax

from diffax.evaluation import Watched
from diffax.objectives import Mean
from diffax.training.setup import Setup

Evaluate = Callable[[Any, Any, Any, Any], tuple[Any, Any]]


def make_evaluate(setup: Setup) -> Evaluate:
    """The loss without dropout, compiled once for all evaluations of a run."""

    @jax.jit
    def evaluate(trainable: Any, frozen: Any, batch: Any, key: Any) -> tuple[Any, Any]:
        return setup.objective.loss(trainable, frozen, batch, key, train=False)

    return evaluate


def watched(setup: Setup, evaluate: Evaluate, trainable: Any, frozen: Any, model: Any) -> Watched:
    """A run as its metrics see it, with these parameters."""

    def loss(batch: Any, key: Any) -> dict[str, float]:
        columns = setup.objective.columns(batch)
        value, metrics = jax.device_get(evaluate(trainable, frozen, columns, key))
        figures = {"loss": float(value)}
        for name, metric in metrics.items():
            if not isinstance(metric, Mean):
                figures[name] = float(metric)
            elif metric.count:
                figures[name] = float(metric.total / metric.count)
        return figures

    return Watched(model, setup.config.data, setup.dataset, loss)
