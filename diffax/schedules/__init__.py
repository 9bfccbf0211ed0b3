"""Noise schedules: `x_t = alpha(t) x_0 + sigma(t) eps`, as tables or as functions of time.

A schedule answers two questions: `at(t)`, the `Point` at a time, and `at_logsnr(l)`, its inverse.
Discrete schedules have the times `0 .. T-1` of their table and the clean end `t = -1`; continuous
ones run over `[0, 1]` (EDM: `[0, sigma_max]`) with the clean end `t = 0`.

Recipes (`Linear`, `Cosine`, ...) are plain numbers that `build()` a table; the continuous schedules
are their own recipes. `BY_NAME` has them all under the names of the command line.
"""

from diffax.schedules.continuous import (
    EDM,
    VE,
    VP,
    ContinuousCosine,
    RectifiedFlow,
    SubVP,
    shift_time,
)
from diffax.schedules.discrete import (
    TERMINAL_SIGNAL_LIMIT,
    Discrete,
    from_alpha_bars,
    from_betas,
    warn_if_signal_remains,
    zero_terminal_snr,
)
from diffax.schedules.fraction import CosineFraction, GeometricFraction, LinearFraction
from diffax.schedules.learned import LearnedLinear, LearnedMonotone
from diffax.schedules.point import Point, Schedule, rate
from diffax.schedules.recipes import (
    AlphaBars,
    Betas,
    Cosine,
    Linear,
    ScaledLinear,
    Sigmoid,
    SigmoidBeta,
    cosine,
    linear,
    scaled_linear,
    sigmoid,
    sigmoid_beta,
)

BY_NAME: dict[str, type] = {
    "linear": Linear,
    "scaled_linear": ScaledLinear,
    "cosine": Cosine,
    "sigmoid": Sigmoid,
    "sigmoid_beta": SigmoidBeta,
    "betas": Betas,
    "alpha_bars": AlphaBars,
    "vp": VP,
    "sub_vp": SubVP,
    "continuous_cosine": ContinuousCosine,
    "ve": VE,
    "edm": EDM,
    "rectified_flow": RectifiedFlow,
    "learned_linear": LearnedLinear,
    "learned_monotone": LearnedMonotone,
    "linear_fraction": LinearFraction,
    "cosine_fraction": CosineFraction,
    "geometric_fraction": GeometricFraction,
}

__all__ = [
    "BY_NAME",
    "EDM",
    "TERMINAL_SIGNAL_LIMIT",
    "VE",
    "VP",
    "AlphaBars",
    "Betas",
    "ContinuousCosine",
    "Cosine",
    "CosineFraction",
    "Discrete",
    "GeometricFraction",
    "LearnedLinear",
    "LearnedMonotone",
    "Linear",
    "LinearFraction",
    "Point",
    "RectifiedFlow",
    "ScaledLinear",
    "Schedule",
    "Sigmoid",
    "SigmoidBeta",
    "SubVP",
    "cosine",
    "from_alpha_bars",
    "from_betas",
    "linear",
    "rate",
    "scaled_linear",
    "shift_time",
    "sigmoid",
    "sigmoid_beta",
    "warn_if_signal_remains",
    "zero_terminal_snr",
]
