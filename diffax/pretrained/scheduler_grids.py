"""diffusers' time grids, each as its schedulers build it; see `compat`."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from diffax.sampling.grids import noise_levels
from diffax.schedules import EDM, Discrete, Point
from diffax.schedules.point import table_dtype

# Where alpha_bar_T is 0 diffusers puts the smallest half-precision number.
_LEAST_ALPHA_BAR = 2.0**-24


def table(schedule: Discrete, steps: int, options: Mapping[str, Any], final: str) -> Point:
    """DDPM, DDIM, PNDM: whole times of the table."""
    points = schedule.at(_times(schedule.num_steps, steps, options))
    end = schedule.end if final == "zero" else schedule.at(0)
    return jax.tree.map(lambda p, e: jnp.concatenate([p, e[None]]), points, end)


def fractional(
    schedule: Discrete, steps: int, options: Mapping[str, Any], *, round_karras: bool = False
) -> Point:
    """Euler, Heun, KDPM2, LMS: fractional times; spaced sigmas range over the spaced times'."""
    times = _times(schedule.num_steps, steps, options, whole=False)
    levels = _levels(schedule)
    k = np.interp(times, np.arange(len(levels)), levels)
    spacing = _spacing(options)
    if spacing:
        k = noise_levels(steps, spacing, k[-1], k[0])
        times = _times_of_levels(k, levels)
        if spacing == "karras" and round_karras:
            times = np.round(times)
    last = levels[0] if options["final_sigmas_type"] == "sigma_min" else 0.0
    return _points(times, np.append(k, last))


def multistep(
    schedule: Discrete, steps: int, options: Mapping[str, Any], *, round_karras: bool
) -> Point:
    """DPM-Solver, UniPC, DEIS: `S + 1` times of which the last is dropped, made whole."""
    total = schedule.num_steps
    levels = _levels(schedule)
    clip = options.get("lambda_min_clipped", -np.inf)
    last = total - int(np.searchsorted(-np.log(levels[::-1]), clip))
    kind = options["timestep_spacing"]
    if kind == "linspace":
        times = np.round(np.linspace(0, last - 1, steps + 1))[::-1][:-1]
    elif kind == "leading":
        stride = last // (steps + 1)
        times = (np.arange(steps + 1) * stride)[::-1][:-1] + options["steps_offset"]
    elif kind == "trailing":
        times = np.round(np.arange(last, 0, -total / steps)) - 1
    else:
        raise ValueError(f"timestep_spacing {kind!r} has no counterpart here")
    spacing = _spacing(options)
    if spacing:
        k = noise_levels(steps, spacing, levels[0], levels[-1])
        times = _times_of_levels(k, levels)
        # Whatever is not rounded is cut off to whole numbers.
        times = np.round(times) if spacing == "karras" and round_karras else np.trunc(times)
    else:
        k = np.interp(times, np.arange(total), levels)
    ends = {"zero": 0.0, "sigma_min": levels[0], "repeat": k[-1]}
    return _points(times, np.append(k, ends[options["final_sigmas_type"]]))


def distilled(schedule: Discrete, steps: int, original: int, final: str) -> Point:
    """LCM, TCD: times of the plan the model was distilled on."""
    total = schedule.num_steps
    if not steps <= original <= total:
        raise ValueError(f"expected steps <= original_inference_steps <= {total}")
    plan = (np.arange(1, original + 1) * (total // original) - 1)[::-1]
    chosen = np.floor(np.linspace(0, original, steps, endpoint=False)).astype(int)
    points = schedule.at(plan[chosen])
    end = schedule.end if final == "zero" else schedule.at(0)
    return jax.tree.map(lambda p, e: jnp.concatenate([p, e[None]]), points, end)


def flow(steps: int, options: Mapping[str, Any]) -> Point:
    """Flow matching: times even in t, shifted; the table's end is shifted twice, as there.

    The network is told `t` times the number of training steps.
    """
    total, shift = options["num_train_timesteps"], options["shift"]

    def shifted(t: np.ndarray | float) -> np.ndarray | float:
        return shift * t / (1 + (shift - 1) * t)

    t = shifted(np.linspace(1.0, shifted(1 / total), steps))
    spacing = _spacing(options)
    if spacing:
        t = noise_levels(steps, spacing, t[-1], t[0])
    t = np.append(t, 0.0)
    return Point(*(jnp.asarray(a, table_dtype()) for a in (total * t, 1 - t, t)))


def edm(schedule: EDM, steps: int, options: Mapping[str, Any]) -> Point:
    """EDM's own grid."""
    k = noise_levels(
        steps,
        options["sigma_schedule"],
        options["sigma_min"],
        options["sigma_max"],
        options["rho"],
    )
    last = options["sigma_min"] if options["final_sigmas_type"] == "sigma_min" else 0.0
    return schedule.at(np.append(k, last))


def start_scale(grid: Point, options: Mapping[str, Any]) -> jax.Array:
    """Scale of the starting noise of Euler and its like: `sigma`, or 1 with leading.

    On `x / alpha`, which they step, that is sigma_max and `sqrt(sigma_max^2 + 1)`.
    """
    if options["timestep_spacing"] in ("linspace", "trailing"):
        return grid.sigma[0]
    return jnp.ones_like(grid.sigma[0])


def _times(total: int, steps: int, options: Mapping[str, Any], whole: bool = True) -> np.ndarray:
    kind = options["timestep_spacing"]
    if kind == "linspace":
        times = np.linspace(0, total - 1, steps)[::-1]
        return np.round(times) if whole else times
    if kind == "leading":
        return (np.arange(steps) * (total // steps))[::-1] + float(options["steps_offset"])
    if kind == "trailing":
        return np.round(np.arange(total, 0, -total / steps)) - 1
    raise ValueError(f"timestep_spacing {kind!r} has no counterpart here")


def _levels(schedule: Discrete) -> np.ndarray:
    """The table's `k = sigma / alpha`, float64, finite."""
    alpha = np.asarray(schedule.alpha, np.float64)
    sigma = np.asarray(schedule.sigma, np.float64)
    return sigma / np.where(alpha == 0, np.sqrt(_LEAST_ALPHA_BAR), alpha)


def _times_of_levels(k: np.ndarray, levels: np.ndarray) -> np.ndarray:
    return np.interp(np.log(k), np.log(levels), np.arange(len(levels)))


def _spacing(options: Mapping[str, Any]) -> str | None:
    chosen = [s for s in ("karras", "exponential", "beta") if options[f"use_{s}_sigmas"]]
    if len(chosen) > 1:
        raise ValueError(f"only one spacing of sigmas can be used, got {', '.join(chosen)}")
    return chosen[0] if chosen else None


def _points(times: np.ndarray, k: np.ndarray) -> Point:
    alpha = 1.0 / np.sqrt(1.0 + k**2)
    times = np.append(times, -1.0 if k[-1] == 0 else 0.0)
    return Point(*(jnp.asarray(a, table_dtype()) for a in (times, alpha, k * alpha)))
