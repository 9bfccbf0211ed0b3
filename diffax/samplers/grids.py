"""Which points a sampler visits: grids of `S + 1` points from noise to data."""

import jax
import jax.numpy as jnp
import numpy as np

from diffax.schedules import Discrete, Point, Schedule

SPACINGS = ("trailing", "leading", "linspace", "quadratic")


def time_grid(
    schedule: Schedule,
    steps: int,
    spacing: str = "trailing",
) -> Point:
    """Points from the noisy start to the clean end.

    Args:
        schedule: the noise schedule.
        steps: number of intervals S; `1 .. T` for a discrete schedule.
        spacing: how the S noisy times are placed. `trailing` ends on T - 1, every T / S
            (Lin et al. 2023, sec. 3.3); `leading` starts on 0; `linspace` includes both;
            `quadratic` is DDIM's for CIFAR-10, denser near the data (Song et al. 2021, D.2).

    Returns:
        A `Point` of arrays `[S + 1]`, the last one the clean end.

    Raises:
        ValueError: an unknown spacing, or a number of steps the schedule cannot give.

    Example:
        >>> from diffax import schedules
        >>> [int(t) for t in time_grid(schedules.linear(1000), 4).t]
        [999, 749, 499, 249, -1]
    """
    if spacing not in SPACINGS:
        raise ValueError(f"spacing should be one of {', '.join(SPACINGS)}; got {spacing!r}")
    if steps < 1:
        raise ValueError(f"steps should be at least 1, got {steps}")
    if isinstance(schedule, Discrete):
        times = _discrete_times(schedule.num_steps, steps, spacing)
    else:
        times = float(schedule.start.t) * _continuous_times(steps, spacing)
    return grid_from(schedule.at(times), schedule)


def grid_from(points: Point, schedule: Schedule) -> Point:
    """The user's own noisy points `[S]`, noisiest first, closed by the schedule's clean end."""
    return jax.tree.map(lambda p, e: jnp.concatenate([p, e[None]]), points, schedule.end)


def _discrete_times(total: int, steps: int, spacing: str) -> np.ndarray:
    if steps > total:
        raise ValueError(f"steps should be 1 .. {total}, the schedule's T, got {steps}")
    if spacing == "trailing":
        times = np.round(np.arange(total, 0, -total / steps))[:steps] - 1
    elif spacing == "leading":
        times = (np.arange(steps) * (total // steps))[::-1]
    elif spacing == "linspace":
        times = np.round(np.linspace(0, total - 1, steps))[::-1]
    else:
        times = np.floor(np.linspace(0, np.sqrt(0.8 * total), steps) ** 2)[::-1]
    return times.astype(np.float64)


def _continuous_times(steps: int, spacing: str) -> np.ndarray:
    if spacing == "trailing":
        return np.arange(steps, 0, -1) / steps
    if spacing == "quadratic":
        return (np.arange(steps, 0, -1) / steps) ** 2
    raise ValueError(
        f"spacing {spacing!r} is for discrete schedules; with this one use trailing or quadratic"
    )
