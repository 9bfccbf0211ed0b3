"""diffusers' grids on the straight path; the network is told t times the training steps."""

from collections.abc import Mapping
from typing import Any, overload

import jax.numpy as jnp
import numpy as np

from diffax.pretrained.schedulers.grids import final_level, levels_of, spaced, spacing_of
from diffax.pretrained.schedulers.noise import table_of_betas
from diffax.schedules import Point
from diffax.schedules.point import table_dtype


def flow(steps: int, options: Mapping[str, Any]) -> Point:
    """Flow matching: times even in t, shifted; the table's end is shifted twice, as there."""
    total, shift = options["num_train_timesteps"], options["shift"]
    t = _shifted(np.linspace(1.0, _shifted(1 / total, shift), steps), shift)
    if options["shift_terminal"]:
        t = _stretched(t, options["shift_terminal"])
    spacing = spacing_of(options)
    if spacing:
        t = spaced(steps, spacing, t[-1], t[0], options)
    t = np.append(t, 0.0)
    return _straight(total * t, t)


def multistep_flow(steps: int, options: Mapping[str, Any], *, repeats: bool = False) -> Point:
    """`use_flow_sigmas` of DPM-Solver and DEIS: times even in t, shifted, cut off to whole ones.

    Args:
        steps: S.
        options: of the scheduler.
        repeats: end where the last step began, as DEIS does.
    """
    total = options["num_train_timesteps"]
    even = 1 - np.linspace(1, 1 / total, steps + 1)
    # Rounding is as there, since whole times are cut off from it.
    t = _shifted(even, options["flow_shift"])[::-1][:-1]
    # Their sigma_min is the table of betas' even here.
    last = t[-1] if repeats else final_level(options, levels_of(table_of_betas(options))[0])
    return _straight(np.trunc(np.append(total * t, 0.0)), np.append(t, last))


def unipc_flow(steps: int, options: Mapping[str, Any]) -> Point:
    """`use_flow_sigmas` of UniPC: from t = 1 less a millionth; or Karras's levels of the betas."""
    total = options["num_train_timesteps"]
    if spacing_of(options) == "karras":
        levels = levels_of(table_of_betas(options))
        k = spaced(steps, "karras", levels[0], levels[-1], options)
        t = k / (1 + k)
    else:
        t = _shifted(np.linspace(1, 1 / total, steps + 1)[:-1], options["flow_shift"])
        if options["shift_terminal"]:
            t = _stretched(t, options["shift_terminal"])
        t[0] = min(t[0], 1 - 1e-6)
    return _straight(np.trunc(np.append(total * t, 0.0)), np.append(t, final_level(options, t[-1])))


@overload
def _shifted(t: float, shift: float) -> float: ...
@overload
def _shifted(t: np.ndarray, shift: float) -> np.ndarray: ...
def _shifted(t: np.ndarray | float, shift: float) -> np.ndarray | float:
    return shift * t / (1 + (shift - 1) * t)


def _stretched(t: np.ndarray, terminal: float) -> np.ndarray:
    """Times stretched so that the last is `terminal`."""
    # In this order rounding is as there, where whole times are cut off from a product.
    return 1 - (1 - t) / ((1 - t[-1]) / (1 - terminal))


def _straight(told: np.ndarray, t: np.ndarray) -> Point:
    return Point(*(jnp.asarray(a, table_dtype()) for a in (told, 1 - t, t)))
