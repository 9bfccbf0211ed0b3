"""The objective's loss on data that training does not see."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import jax

from diffax.evaluation.examples import blocks
from diffax.evaluation.metric import Watched


@dataclass(frozen=True)
class HeldOutLoss:
    """Loss on another split, as `held_out_loss`, and in the quartiles of time.

    The examples, their times and their noise are the same at every evaluation, so that two values
    differ by the parameters alone.

    Example:
        >>> HeldOutLoss(split="test", num=512).better["held_out_loss"]
        'lower'
    """

    split: str = "test"
    """Which split of the recipe's data."""
    num: int = 1024
    """Examples looked at, from the split's first on; fewer where it has fewer."""
    seed: int = 0
    """Of times and noise."""

    better: ClassVar[Mapping[str, str]] = {
        f"held_out_loss{part}": "lower" for part in ("", "_t1", "_t2", "_t3", "_t4")
    }

    def __post_init__(self) -> None:
        """Checks every number."""
        if not 1 <= self.num <= 10**9:
            raise ValueError(f"metrics num must be >= 1, got {self.num}")

    def __call__(self, watched: Watched) -> dict[str, float]:
        """The figures.

        Raises:
            ValueError: data without splits.
        """
        dataset = watched.split(self.split)
        if watched.loss is None:
            raise ValueError("a held-out loss needs a run of train.py; this model has no objective")
        totals: dict[str, float] = {}
        weights: dict[str, float] = {}
        key = jax.random.key(self.seed)
        for start, batch, share in blocks(dataset, self.num):
            for name, value in watched.loss(batch, jax.random.fold_in(key, start)).items():
                totals[name] = totals.get(name, 0.0) + share * value
                weights[name] = weights.get(name, 0.0) + share
        return {f"held_out_{name}": totals[name] / weights[name] for name in totals}
