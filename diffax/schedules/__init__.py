"""Noise schedules: `x_t = alpha(t) x_0 + sigma(t) eps`, as tables or as functions of time.

A schedule answers two questions: `at(t)`, the `Point` at a time, and `at_logsnr(l)`, its inverse.
Discrete schedules have the times `0 .. T-1` of their table and the clean end `t = -1`; continuous
ones run over `[0, 1]` (EDM: `[0, sigma_max]`) with the clean end `t = 0`.
"""

from diffax.schedules.continuous import EDM, VE, VP, Cosine, RectifiedFlow, SubVP, shift_time
from diffax.schedules.discrete import (
    TERMINAL_SIGNAL_LIMIT,
    Discrete,
    cosine,
    from_alpha_bars,
    from_betas,
    linear,
    scaled_linear,
    sigmoid,
    sigmoid_beta,
    warn_if_signal_remains,
    zero_terminal_snr,
)
from diffax.schedules.point import Point, Schedule

__all__ = [
    "EDM",
    "TERMINAL_SIGNAL_LIMIT",
    "VE",
    "VP",
    "Cosine",
    "Discrete",
    "Point",
    "RectifiedFlow",
    "Schedule",
    "SubVP",
    "cosine",
    "from_alpha_bars",
    "from_betas",
    "linear",
    "scaled_linear",
    "shift_time",
    "sigmoid",
    "sigmoid_beta",
    "warn_if_signal_remains",
    "zero_terminal_snr",
]
