"""Which points a sampler visits: grids of `S + 1` points from noise to data."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from diffax.schedules import EDM, VE, Discrete, Point, RectifiedFlow, Schedule, shift_time

TIME_SPACINGS = ("trailing", "leading", "linspace", "quadratic")
NOISE_SPACINGS = ("karras", "exponential", "logsnr", "beta")
SPACINGS = TIME_SPACINGS + NOISE_SPACINGS

# Where the spacings in noise level end on schedules in continuous time, whose end is clean.
# score_sde samples down to the same time (Song et al. 2021).
_NEAR_CLEAN = 1e-3

# Where they start at most: above, less than 1/160 of the signal's amplitude is left, and schedules
# that go on to (almost) pure noise would spend half their steps there. DDPM's table ends at 157.
_LARGEST = 160.0


def time_grid(
    schedule: Schedule,
    steps: int,
    spacing: str | ArrayLike = "trailing",
    *,
    final: str = "zero",
    steps_offset: int = 0,
    rho: float = 7.0,
    sigma_min: float | None = None,
    sigma_max: float | None = None,
    shift: float = 1.0,
    round_times: bool = False,
) -> Point:
    """Points from the noisy start to the clean end.

    Args:
        schedule: the noise schedule.
        steps: number of intervals S; `1 .. T` for a discrete schedule.
        spacing: how the S noisy points are placed, or the user's own times `[S]`, noisiest first.
            In time: `trailing` ends on T - 1, every T / S (Lin et al. 2023, sec. 3.3); `leading`
            starts on 0; `linspace` includes both; `quadratic` is DDIM's for CIFAR-10, denser near
            the data (Song et al. 2021, D.2).
            In noise level `k = sigma / alpha`: `karras` is even in `k^(1/rho)` (Karras et al.
            2022, eq. 5); `exponential` (or `logsnr`) is even in log k, that is in log-SNR (Lu et
            al. 2022, DPM-Solver); `beta` follows the Beta(0.6, 0.6) quantiles (Lee et al. 2024).
        final: where the last interval ends: `zero`, the clean end, or `sigma_min`, the least noise
            of the table or of the spacing (`set_alpha_to_one=False` of Stable Diffusion's files).
        steps_offset: added to the times of `leading`; Stable Diffusion's files mean 1.
        rho: of `karras`.
        sigma_min: smallest k of the spacings in noise level; None is the schedule's own.
        sigma_max: largest k; None is the schedule's own, or 160 where that is larger.
        shift: moves the times of `RectifiedFlow` towards noise for larger images; `shift_time`.
        round_times: round the times the network is told to whole ones, for networks that learned
            one embedding a table entry; alpha and sigma stay as spaced.

    Returns:
        A `Point` of arrays `[S + 1]`.

    Raises:
        ValueError: an unknown spacing, options that do not go together, or a number of steps the
            schedule cannot give.

    Example:
        >>> from diffax import schedules
        >>> [int(t) for t in time_grid(schedules.linear(1000), 4).t]
        [999, 749, 499, 249, -1]
    """
    if final not in ("zero", "sigma_min"):
        raise ValueError(f"final should be zero or sigma_min, got {final!r}")
    if steps < 1:
        raise ValueError(f"steps should be at least 1, got {steps}")
    if shift != 1.0 and not isinstance(schedule, RectifiedFlow):
        raise ValueError("shift moves the times of the RectifiedFlow schedule only")
    if steps_offset and not (isinstance(spacing, str) and spacing == "leading"):
        raise ValueError(f"steps_offset belongs to spacing leading, got {spacing!r}")

    if not isinstance(spacing, str):
        times = np.asarray(spacing, np.float64)
        if times.shape != (steps,):
            raise ValueError(f"expected {steps} times, one a step, got shape {times.shape}")
        if np.any(np.diff(times) >= 0):
            raise ValueError("the times of a grid should decrease, from noise to data")
        points = schedule.at(times)
    elif spacing in TIME_SPACINGS:
        points = schedule.at(_times(schedule, steps, spacing, steps_offset, shift))
    elif spacing in NOISE_SPACINGS:
        low, high = noise_range(schedule, sigma_min, sigma_max)
        levels = noise_levels(steps, spacing, low, high, rho)
        points = schedule.at_logsnr(-2 * np.log(levels))
    else:
        raise ValueError(f"spacing should be one of {', '.join(SPACINGS)}; got {spacing!r}")
    if round_times:
        points = Point(jnp.round(points.t), points.alpha, points.sigma)
    return grid_from(points, schedule, final)


def grid_from(points: Point, schedule: Schedule, final: str = "zero") -> Point:
    """The user's own noisy points, closed by the end that `final` names.

    Args:
        points: `[S]`, noisiest first.
        schedule: whose end it is.
        final: `zero` or `sigma_min`, as in `time_grid`.

    Returns:
        The grid, `[S + 1]`.
    """
    if final == "zero":
        end = schedule.end
    elif isinstance(schedule, Discrete):
        end = schedule.at(0)
    else:
        low, _ = noise_range(schedule, None, None)
        end = schedule.at_logsnr(-2 * np.log(low))
    return jax.tree.map(lambda p, e: jnp.concatenate([p, e[None]]), points, end)


def noise_range(
    schedule: Schedule, sigma_min: float | None, sigma_max: float | None
) -> tuple[float, float]:
    """Smallest and largest `k = sigma / alpha` of a schedule, or the given ones.

    Raises:
        ValueError: an empty range.
    """
    if sigma_min is None:
        if isinstance(schedule, EDM | VE):
            sigma_min = float(np.asarray(schedule.sigma_min))
        else:
            clean = 0 if isinstance(schedule, Discrete) else _NEAR_CLEAN
            sigma_min = float(schedule.at(clean).sigma_ratio)
    if sigma_max is None:
        sigma_max = min(float(schedule.start.sigma_ratio), _LARGEST)
    if not 0 < sigma_min < sigma_max:
        raise ValueError(f"expected 0 < sigma_min < sigma_max, got {sigma_min:g}, {sigma_max:g}")
    return sigma_min, sigma_max


def noise_levels(steps: int, spacing: str, low: float, high: float, rho: float = 7.0) -> np.ndarray:
    """`steps` values of `k = sigma / alpha` from `high` to `low`, float64; see `time_grid`."""
    ramp = np.linspace(0, 1, steps)
    if spacing == "karras":
        return (high ** (1 / rho) + ramp * (low ** (1 / rho) - high ** (1 / rho))) ** rho
    if spacing in ("exponential", "logsnr"):
        return np.exp(np.linspace(np.log(high), np.log(low), steps))
    if spacing == "beta":
        from scipy import special  # half a second, for this spacing alone

        return low + special.betaincinv(0.6, 0.6, 1 - ramp) * (high - low)
    raise ValueError(f"spacing should be one of {', '.join(NOISE_SPACINGS)}; got {spacing!r}")


def _times(
    schedule: Schedule, steps: int, spacing: str, steps_offset: int, shift: float
) -> np.ndarray:
    if isinstance(schedule, Discrete):
        times = discrete_times(schedule.num_steps, steps, spacing) + steps_offset
        return np.minimum(times, schedule.num_steps - 1)
    fractions = _continuous_times(steps, spacing)
    if shift != 1.0:
        fractions = np.asarray(shift_time(fractions, shift))
    return float(schedule.start.t) * fractions


def discrete_times(total: int, steps: int, spacing: str) -> np.ndarray:
    """The `steps` table times of a spacing in time, decreasing, of `0 .. total - 1`."""
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
        if np.any(np.diff(times) == 0):
            raise ValueError(
                f"quadratic spacing repeats times at {steps} steps of {total}; use fewer steps"
            )
    return times.astype(np.float64)


def _continuous_times(steps: int, spacing: str) -> np.ndarray:
    """Fractions of the start's time."""
    if spacing in ("trailing", "linspace"):
        # No network answers at t = 0, so linspace's last point is the clean end itself.
        return np.arange(steps, 0, -1) / steps
    if spacing == "quadratic":
        return (np.arange(steps, 0, -1) / steps) ** 2
    raise ValueError(
        "spacing leading leaves out the start, which only discrete schedules have use for; with "
        "this one use trailing"
    )
