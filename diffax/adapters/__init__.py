"""Adapters: which of a model's parameters training learns, and how they become the model's own.

`init(key, params) -> (trainable, frozen)` and `merge(trainable, frozen) -> params`, both pure.
Gradient, optimizer and averages see `trainable` only.
"""

from diffax.adapters.adapter import Adapter
from diffax.adapters.low_rank import LowRank
from diffax.adapters.subset import Everything, Subset

# Names on command lines and in the JSON of a run.
BY_NAME: dict[str, type] = {"everything": Everything, "subset": Subset, "low_rank": LowRank}

__all__ = ["BY_NAME", "Adapter", "Everything", "LowRank", "Subset"]
