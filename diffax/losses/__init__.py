"""Training losses: where in time, with what weight, on what target; and the variational bound.

`diffusion_loss` is the simple loss (Ho et al. 2020, eq. 14) for any schedule, parameterization,
time sampling and weighting, and with a `LearnedVariance` the hybrid loss (Nichol & Dhariwal 2021).
`TIMES` and `WEIGHTINGS` name the choices as command lines do. Autoencoders have their
`REGULARIZERS` and `PERCEPTUAL` losses, and `adversarial`, the two players' game.
"""

from diffax.losses.assignment import assignment, running_mean
from diffax.losses.continuous import continuous_bound, spread
from diffax.losses.denoising import diffusion_loss
from diffax.losses.discrete import (
    masked_bound,
    posterior_divergence,
    score_entropy,
    stepwise_bound,
    token_bound,
)
from diffax.losses.few_steps import consistency_loss, progressive_loss, two_steps_as_one
from diffax.losses.latents import KL, REGULARIZERS, Codes, Plain
from diffax.losses.perceptual import PERCEPTUAL, Gradients
from diffax.losses.second_moment import SecondMoment
from diffax.losses.times import (
    Antithetic,
    EvenLogSNR,
    LogitNormal,
    LogNormal,
    Shifted,
    Stratified,
    TimeSampling,
    Uniform,
)
from diffax.losses.uncertainty import Uncertainty
from diffax.losses.variational import (
    Bound,
    LearnedVariance,
    bound_term,
    prior_kl,
    variational_bound,
)
from diffax.losses.weightings import EDM, P2, WEIGHTINGS, Constant, Likelihood, MinSNR, Weighting

TIMES: dict[str, type] = {
    "uniform": Uniform,
    "antithetic": Antithetic,
    "stratified": Stratified,
    "log_normal": LogNormal,
    "logit_normal": LogitNormal,
    "shifted": Shifted,
    "even_logsnr": EvenLogSNR,
    "second_moment": SecondMoment,
}

__all__ = [
    "EDM",
    "KL",
    "P2",
    "PERCEPTUAL",
    "REGULARIZERS",
    "TIMES",
    "WEIGHTINGS",
    "Antithetic",
    "Bound",
    "Codes",
    "Constant",
    "EvenLogSNR",
    "Gradients",
    "LearnedVariance",
    "Likelihood",
    "LogNormal",
    "LogitNormal",
    "MinSNR",
    "Plain",
    "SecondMoment",
    "Shifted",
    "Stratified",
    "TimeSampling",
    "Uncertainty",
    "Uniform",
    "Weighting",
    "assignment",
    "bound_term",
    "consistency_loss",
    "continuous_bound",
    "diffusion_loss",
    "masked_bound",
    "posterior_divergence",
    "prior_kl",
    "progressive_loss",
    "running_mean",
    "score_entropy",
    "spread",
    "stepwise_bound",
    "token_bound",
    "two_steps_as_one",
    "variational_bound",
]
