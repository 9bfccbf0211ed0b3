"""The noise schedule of a scheduler."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from diffax import schedules
from diffax.schedules import Discrete, Schedule

# Its solvers that divide by alpha put the smallest half-precision number where alpha_bar_T is 0.
LEAST_ALPHA_BAR = 2.0**-24
# These others use alpha_bar_T = 0 as it is.
_AT_PURE_NOISE = (
    "DDPMScheduler",
    "DDIMScheduler",
    "DDIMInverseScheduler",
    "LCMScheduler",
    "TCDScheduler",
)


def noise_schedule(name: str, options: Mapping[str, Any]) -> Schedule:
    """EDM's levels, the straight path, or a table of betas."""
    if name.startswith("EDM"):
        return schedules.EDM(options["sigma_min"], options["sigma_max"])
    if name.startswith("FlowMatch") or options["use_flow_sigmas"]:
        return schedules.RectifiedFlow()
    schedule = table_of_betas(options)
    return schedule if name in _AT_PURE_NOISE else _with_signal(schedule)


def table_of_betas(options: Mapping[str, Any]) -> Discrete:
    """The table of noise levels that the betas make."""
    total = options["num_train_timesteps"]
    limits = options["beta_start"], options["beta_end"]
    kind = options["beta_schedule"]
    if options["trained_betas"] is not None:
        schedule = schedules.from_betas(options["trained_betas"])
    elif kind == "linear":
        schedule = schedules.linear(total, *limits)
    elif kind == "scaled_linear":
        schedule = schedules.scaled_linear(total, *limits)
    elif kind == "sigmoid":
        schedule = schedules.sigmoid_beta(total, *limits)
    elif kind == "squaredcos_cap_v2":
        schedule = schedules.cosine(total)
    else:
        signal = {"exp": lambda t: math.exp(-12 * t), "laplace": _laplace}[kind]
        schedule = _from_signal(total, signal)
    if options["rescale_betas_zero_snr"]:
        schedule = schedules.zero_terminal_snr(schedule)
    return schedule


def _laplace(t: float) -> float:
    """Log-SNR by the quantiles of a Laplace distribution (Hang et al. 2024, table 1).

    diffusers takes the root of what the paper calls alpha_bar for alpha_bar.
    """
    logsnr = -0.5 * math.copysign(1, 0.5 - t) * math.log(1 - 2 * abs(0.5 - t) + 1e-6)
    snr = math.exp(logsnr)
    return math.sqrt(snr / (1 + snr))


def _from_signal(total: int, signal: Callable[[float], float], most: float = 0.999) -> Discrete:
    """Betas from `alpha_bar(t)` over `[0, 1]`, each capped."""
    bars = np.array([signal(i / total) for i in range(total + 1)])
    return schedules.from_betas(np.minimum(1 - bars[1:] / bars[:-1], most))


def _with_signal(schedule: Discrete) -> Discrete:
    """The table with `LEAST_ALPHA_BAR` of signal where it ends in none."""
    if schedule.alpha[-1] > 0:
        return schedule
    alpha, sigma = math.sqrt(LEAST_ALPHA_BAR), math.sqrt(1 - LEAST_ALPHA_BAR)
    return dataclasses.replace(
        schedule, alpha=schedule.alpha.at[-1].set(alpha), sigma=schedule.sigma.at[-1].set(sigma)
    )
