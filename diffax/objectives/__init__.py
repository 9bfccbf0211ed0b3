"""Objectives: what a run learns. The training loop knows nothing else.

A recipe's objective is plain data with `build(spec) -> Objective`, where `spec` is what the data
set says of itself. `Denoising` trains a diffusion model.
"""

from diffax.objectives.augmentation import NonLeaking
from diffax.objectives.denoising import Denoising
from diffax.objectives.objective import Mean, Objective

# Names on command lines and in the JSON of a run.
BY_NAME: dict[str, type] = {"denoising": Denoising}
AUGMENTATIONS: dict[str, type] = {"non_leaking": NonLeaking}

__all__ = ["AUGMENTATIONS", "BY_NAME", "Denoising", "Mean", "NonLeaking", "Objective"]
