"""Which solver goes with which schedule, network and grid."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from diffax.parameterization import Eps, Parameterization
from diffax.sampling.grids import NOISE_SPACINGS
from diffax.schedules import Discrete, Schedule
from diffax.solvers.consistency import LCM, TCD
from diffax.solvers.heun import Heun
from diffax.solvers.kdpm2 import KDPM2, KDPM2Ancestral
from diffax.solvers.lms import LMS
from diffax.solvers.pndm import PNDM
from diffax.solvers.registry import lookup


def check_combination(
    name: str,
    schedule: Schedule,
    parameterization: Parameterization | None = None,
    steps: int | None = None,
    options: Mapping[str, Any] | None = None,
    spacing: str | None = None,
) -> None:
    """Refuse what cannot work, with the reason, before anything is compiled.

    Args:
        name: one of `SOLVERS`.
        schedule: the noise schedule.
        parameterization: what the network is asked for, where known.
        steps: intervals of the grid, where known.
        options: the solver's options.
        spacing: of the grid, where known.

    Raises:
        ValueError: the first reason found.
    """
    entry = lookup(name)
    options = options or {}
    # Spacings in noise level start where some signal is left.
    pure_noise = float(np.asarray(schedule.start.alpha)) == 0 and spacing not in NOISE_SPACINGS
    if pure_noise and isinstance(parameterization, Eps) and isinstance(schedule, Discrete):
        raise ValueError(
            "this schedule ends in pure noise (alpha = 0), where a network that predicts eps says "
            "nothing of the data: use a v- or x0-predicting model, or the schedule without "
            "zero_terminal_snr"
        )
    if pure_noise and entry.make in (LMS, Heun, KDPM2, KDPM2Ancestral):
        if not (entry.make is Heun and dict(entry.fixed, **options).get("space") == "straight"):
            raise ValueError(
                f"sampler {name} steps in sigma / alpha, which is infinite at this schedule's "
                "pure-noise start: use dpmpp_2m, unipc, ddim or flow_heun, or spacing karras"
            )
    if entry.make in (LCM, TCD) and not isinstance(schedule, Discrete):
        raise ValueError(
            f"sampler {name} is for models distilled on a table of times; this schedule has "
            "continuous time"
        )
    if steps is not None and entry.make is PNDM and steps < 4:
        raise ValueError(f"sampler {name} needs at least 4 steps, got {steps}; use plms")
    eta = options.get("eta")
    if isinstance(eta, int | float) and not 0 <= eta:
        raise ValueError(f"eta should be at least 0, got {eta}")
