"""Training losses: where in time, with what weight, on what target; and the variational bound.

`diffusion_loss` is the simple loss (Ho et al. 2020, eq. 14) for any schedule, parameterization,
time sampling and weighting, and with a `LearnedVariance` the hybrid loss (Nichol & Dhariwal 2021).
`TIMES` and `WEIGHTINGS` name the choices as command lines do. Autoencoders have their
`REGULARIZERS` and `PERCEPTUAL` losses, and `adversarial`, the two players' game.
"""

from diffax.losses.assignment import assignment, running_mean
from diffax.losses.denoising import diffusion_loss
from diffax.losses.latents import KL, REGULARIZERS, Codes, Plain
from diffax.losses.perceptual import PERCEPTUAL, Gradients
from diffax.losses.times import (
    TIMES,
    Antithetic,
    LogitNormal,
    LogNormal,
    Stratified,
    TimeSampling,
    Uniform,
)
from diffax.losses.variational import LearnedVariance, bound_term, prior_kl
from diffax.losses.weightings import P2, WEIGHTINGS, Constant, MinSNR, Weighting

__all__ = [
    "KL",
    "P2",
    "PERCEPTUAL",
    "REGULARIZERS",
    "TIMES",
    "WEIGHTINGS",
    "Antithetic",
    "Codes",
    "Constant",
    "Gradients",
    "LearnedVariance",
    "LogNormal",
    "LogitNormal",
    "MinSNR",
    "Plain",
    "Stratified",
    "TimeSampling",
    "Uniform",
    "Weighting",
    "assignment",
    "bound_term",
    "diffusion_loss",
    "prior_kl",
    "running_mean",
]
