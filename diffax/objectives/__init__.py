"""Objectives: what a run learns. The training loop knows nothing else.

A recipe's objective is plain data with `build(spec) -> Objective`, where `spec` is what the data
set says of itself. `Denoising` trains a diffusion model; `ConsistencyTraining`,
`ConsistencyDistillation` and `Progressive` make models of a few steps; `Variational` learns by the
likelihood's bound; `TokenDiffusion` makes texts, and images of few levels, token by token;
`Autoencoder` learns a space for a diffusion model to live in.
"""

from diffax.objectives.augmentation import NonLeaking
from diffax.objectives.autoencoder import Adversary, Autoencoder
from diffax.objectives.couplings import COUPLINGS, Independent, OptimalTransport, Paired
from diffax.objectives.denoising import Denoising
from diffax.objectives.few_steps import ConsistencyDistillation, ConsistencyTraining, Progressive
from diffax.objectives.objective import Mean, Objective
from diffax.objectives.tokens import TokenDiffusion
from diffax.objectives.variational import Variational

# Names on command lines and in the JSON of a run.
BY_NAME: dict[str, type] = {
    "denoising": Denoising,
    "autoencoder": Autoencoder,
    "consistency_training": ConsistencyTraining,
    "consistency_distillation": ConsistencyDistillation,
    "progressive": Progressive,
    "token_diffusion": TokenDiffusion,
    "variational": Variational,
}
# Augmentations that tell the network what they did.
AUGMENTATIONS: dict[str, type] = {"non_leaking": NonLeaking}

__all__ = [
    "AUGMENTATIONS",
    "BY_NAME",
    "COUPLINGS",
    "Adversary",
    "Autoencoder",
    "ConsistencyDistillation",
    "ConsistencyTraining",
    "Denoising",
    "Independent",
    "Mean",
    "NonLeaking",
    "Objective",
    "OptimalTransport",
    "Paired",
    "Progressive",
    "TokenDiffusion",
    "Variational",
]
