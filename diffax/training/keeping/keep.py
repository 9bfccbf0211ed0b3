"""Which checkpoints of a run stay."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Record = dict[str, Any]  # plain data that belongs to a checkpoint


@dataclass(frozen=True)
class Keep:
    """A rule.

    Attributes:
        last: this many of the newest.
        every: those whose step is a multiple of this; 0: none.
        best: also the one with the best value of this metric; None: no such one.
        better: "higher" for metrics of which the highest value is best, by name; all others are
            best where they are lowest.
    """

    last: int = 3
    every: int = 0
    best: str | None = None
    better: Mapping[str, str] = field(default_factory=dict)

    def wanted(self, records: dict[int, Record]) -> set[int]:
        """The steps to keep out of those that there are, with their records."""
        steps = sorted(records)
        keep = set(steps[-self.last :])
        if self.every:
            keep |= {step for step in steps if step % self.every == 0}
        if self.best is not None:
            rated = {
                step: record["metrics"][self.best]
                for step, record in records.items()
                if math.isfinite(record["metrics"].get(self.best, math.nan))
            }
            choose = max if self.better.get(self.best) == "higher" else min
            keep |= {choose(rated, key=lambda step: rated[step])} if rated else set()
        return keep
