"""Objectives: what a run learns. The training loop knows nothing else.

A recipe's objective is plain data with `build(spec) -> Objective`, where `spec` is what the data
set says of itself. `Denoising` trains a diffusion model, `Autoencoder` a space for it to live in.
"""

from diffax.objectives.autoencoder import Adversary, Autoencoder
from diffax.objectives.denoising import Denoising
from diffax.objectives.objective import Mean, Objective

# Names on command lines and in the JSON of a run.
BY_NAME: dict[str, type] = {"denoising": Denoising, "autoencoder": Autoencoder}

__all__ = ["BY_NAME", "Adversary", "Autoencoder", "Denoising", "Mean", "Objective"]
