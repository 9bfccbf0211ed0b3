"""diffusers' time grids, each as its schedulers build it."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from diffax.pretrained.schedulers.noise import LEAST_ALPHA_BAR
from diffax.sampling.grids import noise_levels
from diffax.schedules import EDM, Discrete, Point
from diffax.schedules.point import table_dtype


def table(schedule: Discrete, steps: int, options: Mapping[str, Any], final: str) -> Point:
    """DDPM, DDIM, PNDM: whole times of the table."""
    times = _times(schedule.num_steps, steps, options)
    if times[0] >= schedule.num_steps:
        raise ValueError(
            f"steps_offset {options['steps_offset']} takes the times of {steps} steps beyond the "
            f"schedule's last, {schedule.num_steps - 1}"
        )
    points = schedule.at(times)
    return _closed(points, schedule.end if final == "zero" else schedule.at(0))


def fractional(
    schedule: Discrete, steps: int, options: Mapping[str, Any], *, round_karras: bool = False
) -> Point:
    """Euler, Heun, KDPM2, LMS: fractional times; spaced sigmas range over the spaced times'."""
    times = _times(schedule.num_steps, steps, options, whole=False)
    levels = levels_of(schedule)
    if options["interpolation_type"] == "log_linear":
        # One more than there are times; the last of them closes the grid.
        k = np.exp(np.linspace(np.log(levels[-1]), np.log(levels[0]), steps + 1))
    else:
        k = np.interp(times, np.arange(len(levels)), levels)
    spacing = spacing_of(options)
    if spacing:
        k = spaced(steps, spacing, k[-1], k[0], options)
        times = _times_of_levels(k, levels)
        if spacing == "karras" and round_karras:
            times = np.round(times)
    k = np.append(k, final_level(options, levels[0]))
    if options["timestep_type"] == "continuous" and options["prediction_type"] == "v_prediction":
        times = 0.25 * np.log(k[:-1])
    return _points(times, k[: len(times) + 1])


def multistep(
    schedule: Discrete,
    steps: int,
    options: Mapping[str, Any],
    *,
    round_karras: bool = True,
    repeats: bool = False,
) -> Point:
    """DPM-Solver, UniPC, DEIS: `S + 1` times of which the last is dropped, made whole.

    Args:
        schedule: the table.
        steps: S.
        options: of the scheduler.
        round_karras: Karras's times are rounded; all others are cut off to whole numbers.
        repeats: with spaced sigmas `sigma_min` is the last of them again, not the table's.
    """
    total = schedule.num_steps
    levels = levels_of(schedule)
    spacing = spacing_of(options)
    if options["use_lu_lambdas"] and spacing != "karras":
        spacing = "lu"
    if not spacing:
        times = _multistep_times(levels, total, steps, options)
        k = np.interp(times, np.arange(total), levels)
    else:
        if spacing == "lu":
            k = noise_levels(steps, "exponential", levels[0], levels[-1])
        else:
            k = spaced(steps, spacing, levels[0], levels[-1], options)
        times = _times_of_levels(k, levels)
        times = np.round(times) if spacing in ("karras", "lu") and round_karras else times
    last = k[-1] if spacing and repeats else levels[0]
    return _points(np.trunc(times), np.append(k, final_level(options, last)))


def distilled(schedule: Discrete, steps: int, original: int, final: str) -> Point:
    """LCM, TCD: times of the plan the model was distilled on."""
    total = schedule.num_steps
    if not steps <= original <= total:
        raise ValueError(
            f"expected steps <= original_inference_steps <= {total}, got steps={steps} and "
            f"original_inference_steps={original}"
        )
    plan = (np.arange(1, original + 1) * (total // original) - 1)[::-1]
    chosen = np.floor(np.linspace(0, original, steps, endpoint=False)).astype(int)
    return _closed(schedule.at(plan[chosen]), schedule.end if final == "zero" else schedule.at(0))


def edm(schedule: EDM, steps: int, options: Mapping[str, Any]) -> Point:
    """EDM's own grid."""
    k = noise_levels(
        steps,
        options["sigma_schedule"],
        options["sigma_min"],
        options["sigma_max"],
        options["rho"],
    )
    return schedule.at(np.append(k, final_level(options, k[-1])))


def start_scale(grid: Point, options: Mapping[str, Any]) -> jax.Array:
    """Scale of the starting noise of Euler and its like: `sigma`, or 1 with leading.

    On `x / alpha`, which they step, that is sigma_max and `sqrt(sigma_max^2 + 1)`.
    """
    if options["timestep_spacing"] in ("linspace", "trailing"):
        return grid.sigma[0]
    return jnp.ones_like(grid.sigma[0])


# ---------------------------------------------------------------- times


def _times(total: int, steps: int, options: Mapping[str, Any], whole: bool = True) -> np.ndarray:
    kind = options["timestep_spacing"]
    if steps > total:
        raise ValueError(f"steps should be 1 .. {total}, the schedule's T, got {steps}")
    if kind == "linspace":
        times = np.linspace(0, total - 1, steps)[::-1]
        return np.round(times) if whole else times
    if kind == "leading":
        return (np.arange(steps) * (total // steps))[::-1] + float(options["steps_offset"])
    return np.round(np.arange(total, 0, -total / steps)) - 1


def _multistep_times(
    levels: np.ndarray, total: int, steps: int, options: Mapping[str, Any]
) -> np.ndarray:
    kind = options["timestep_spacing"]
    if steps > total:
        raise ValueError(f"steps should be 1 .. {total}, the schedule's T, got {steps}")
    clip = options["lambda_min_clipped"]
    last = total - int(np.searchsorted(-np.log(levels[::-1]), clip))
    if kind == "linspace":
        return np.round(np.linspace(0, last - 1, steps + 1))[::-1][:-1]
    if kind == "leading":
        stride = last // (steps + 1)
        return (np.arange(steps + 1) * stride)[::-1][:-1] + options["steps_offset"]
    return np.round(np.arange(last, 0, -total / steps)) - 1


def _times_of_levels(k: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Times in the table, linear in log k, from the last entry at or below each k.

    The last, as a table with zero terminal SNR does not rise at its end: where alpha_bar_T is
    `LEAST_ALPHA_BAR` the entry before it may be noisier.
    """
    log_k, log_levels = np.log(k)[:, None], np.log(levels)
    # The table's own entries come back through powers and exponentials, exact to rounding.
    below = log_levels <= log_k + 1e-12
    last = len(levels) - 1 - np.argmax(below[:, ::-1], axis=1)
    low = np.minimum(np.where(below.any(axis=1), last, 0), len(levels) - 2)
    share = (log_k[:, 0] - log_levels[low]) / (log_levels[low + 1] - log_levels[low])
    return low + np.clip(share, 0.0, 1.0)


# ---------------------------------------------------------------- noise levels


def levels_of(schedule: Discrete) -> np.ndarray:
    """The table's `k = sigma / alpha`, float64, finite."""
    alpha = np.asarray(schedule.alpha, np.float64)
    sigma = np.asarray(schedule.sigma, np.float64)
    return sigma / np.where(alpha == 0, np.sqrt(LEAST_ALPHA_BAR), alpha)


def spacing_of(options: Mapping[str, Any]) -> str | None:
    """How noise levels are spaced, or None where times are.

    Raises:
        ValueError: two ways at once.
    """
    chosen = [s for s in ("karras", "exponential", "beta") if options[f"use_{s}_sigmas"]]
    if len(chosen) > 1:
        raise ValueError(f"only one spacing of sigmas can be used, got {', '.join(chosen)}")
    return chosen[0] if chosen else None


def spaced(
    steps: int, spacing: str, low: float, high: float, options: Mapping[str, Any]
) -> np.ndarray:
    """Levels between the configuration's own ends, or else these, noisiest first."""
    low = low if options["sigma_min"] is None else options["sigma_min"]
    high = high if options["sigma_max"] is None else options["sigma_max"]
    if not 0 < low < high:
        raise ValueError(f"expected 0 < sigma_min < sigma_max, got {low:g} and {high:g}")
    return noise_levels(steps, spacing, low, high)


def final_level(options: Mapping[str, Any], last: float) -> float:
    """Where the last step ends: `last`, or the clean end."""
    return last if options["final_sigmas_type"] == "sigma_min" else 0.0


def _points(times: np.ndarray, k: np.ndarray) -> Point:
    alpha = 1.0 / np.sqrt(1.0 + k**2)
    times = np.append(times, -1.0 if k[-1] == 0 else 0.0)
    return Point(*(jnp.asarray(a, table_dtype()) for a in (times, alpha, k * alpha)))


def _closed(points: Point, end: Point) -> Point:
    return jax.tree.map(lambda p, e: jnp.concatenate([p, e[None]]), points, end)
