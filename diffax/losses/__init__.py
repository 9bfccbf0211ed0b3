"""Training losses: where in time, with what weight, on what target; and the variational bound.

`diffusion_loss` is the simple loss (Ho et al. 2020, eq. 14) for any schedule, parameterization,
time sampling and weighting, and with a `LearnedVariance` the hybrid loss (Nichol & Dhariwal 2021).
`TIMES` and `WEIGHTINGS` name the choices as command lines do.
"""

from diffax.losses.denoising import diffusion_loss
from diffax.losses.times import (
    TIMES,
    Antithetic,
    LogitNormal,
    LogNormal,
    Stratified,
    TimeSampling,
    Uniform,
)
from diffax.losses.variational import (
    Bound,
    LearnedVariance,
    bound_term,
    prior_kl,
    variational_bound,
)
from diffax.losses.weightings import P2, WEIGHTINGS, Constant, MinSNR, Weighting

__all__ = [
    "P2",
    "TIMES",
    "WEIGHTINGS",
    "Antithetic",
    "Bound",
    "Constant",
    "LearnedVariance",
    "LogNormal",
    "LogitNormal",
    "MinSNR",
    "Stratified",
    "TimeSampling",
    "Uniform",
    "Weighting",
    "bound_term",
    "diffusion_loss",
    "prior_kl",
    "variational_bound",
]
