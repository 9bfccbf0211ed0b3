"""Tables of noise levels, from given numbers; `recipes` has the published ones.

Tables are built in float64 and kept in float32 (float64 where `jax_enable_x64` is on).
"""

import warnings
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from diffax.noun import noun
from diffax.schedules.point import Point, checked_times, table_dtype, variance_preserving_point

# A terminal signal alpha_bar_T above this biases samples that start from N(0, I).
TERMINAL_SIGNAL_LIMIT = 0.01


@noun
class Discrete:
    """A table of `T` noise levels, as in DDPM (Ho et al. 2020).

    Attributes:
        alpha: `sqrt(alpha_bar_t)`, `[T]`.
        sigma: `sqrt(1 - alpha_bar_t)`, `[T]`.
        beta: variance of the single step `q(x_t | x_{t-1})`, `[T]`.
    """

    alpha: Array
    sigma: Array
    beta: Array

    @property
    def num_steps(self) -> int:
        """T, the number of noise levels."""
        return self.alpha.shape[0]

    @property
    def alpha_bar(self) -> Array:
        """Signal power `alpha^2` at every time, `[T]`."""
        return self.alpha**2

    @property
    def terminal_signal(self) -> Array:
        """`alpha_bar_T`: how much of the data's power is left at the noisiest time."""
        return self.alpha[-1] ** 2

    @property
    def start(self) -> Point:
        """The point at `t = T - 1`."""
        return self.at(self.num_steps - 1)

    @property
    def end(self) -> Point:
        """The clean end: `t = -1, alpha = 1, sigma = 0`."""
        return self.at(-1)

    def at(self, t: ArrayLike) -> Point:
        """The point at table time `t`; between entries the log-SNR is linear in `t`.

        Below the first entry `sigma / alpha` itself is, down to 0 at the clean end.

        Args:
            t: time(s) in `[-1, T - 1]`, whole or fractional; `-1` is the clean end.

        Returns:
            The `Point`, shaped like `t`. A traced `t` outside the range gives NaN instead of a
            silently clamped table entry.

        Raises:
            ValueError: a concrete `t` is outside `[-1, T - 1]`.
        """
        last = self.num_steps - 1
        t = checked_times(t, -1, last, self.alpha.dtype)
        if (entries := self._entries(t)) is not None:
            return entries
        valid = (t >= -1) & (t <= last)
        below = jnp.clip(jnp.floor(t), -1, last)
        rest = t - below
        # Entry 0 of the extended tables is the clean end.
        alpha = jnp.concatenate([jnp.ones_like(self.alpha[:1]), self.alpha])
        sigma = jnp.concatenate([jnp.zeros_like(self.sigma[:1]), self.sigma])
        low = below.astype(jnp.int32) + 1
        high = jnp.minimum(low + 1, last + 1)
        # Entries are taken as they are; so is pure noise, to which tables of large betas round.
        is_entry = (rest == 0) | (alpha[low] == 0)
        rest = jnp.where(is_entry, 0.5, rest)
        u_low = _log_ratio(jnp.where(low == 0, 1.0, sigma[low]), alpha[low], jnp.zeros_like(t))
        u_high = _log_ratio(sigma[high], alpha[high], u_low)
        u = jnp.where(low == 0, u_high + jnp.log(rest), u_low + rest * (u_high - u_low))
        between = variance_preserving_point(t, -2 * u)
        point_alpha = jnp.where(is_entry, alpha[low], between.alpha)
        point_sigma = jnp.where(is_entry, sigma[low], between.sigma)
        return Point(
            t,
            jnp.where(valid, point_alpha, jnp.nan),
            jnp.where(valid, point_sigma, jnp.nan),
        )

    def _entries(self, t: Array) -> Point | None:
        """The point at whole, concrete times: looked up, without a program for every operation."""
        if any(isinstance(x, jax.core.Tracer) for x in (t, self.alpha, self.sigma)):
            return None
        row = np.asarray(t).astype(int)
        if np.any(row != np.asarray(t)):
            return None
        alpha = np.where(row < 0, 1, np.asarray(self.alpha)[row])
        sigma = np.where(row < 0, 0, np.asarray(self.sigma)[row])
        return Point(t, jnp.asarray(alpha, t.dtype), jnp.asarray(sigma, t.dtype))

    def at_logsnr(self, logsnr: ArrayLike) -> Point:
        """The point with a given log-SNR: the inverse of `at`.

        Beyond the table's ends `t` is clamped to `[0, T - 1]` while alpha and sigma are exact,
        as k-diffusion's `sigma_to_t` does.

        Args:
            logsnr: log-SNR, any shape; `+inf` gives the clean end, `-inf` pure noise.
        """
        logsnr = jnp.asarray(logsnr, self.alpha.dtype)
        finite = jnp.where(self.alpha > 0, self.alpha, 1.0)
        largest = jnp.max(
            jnp.where(self.alpha > 0, jnp.log(self.sigma) - jnp.log(finite), -jnp.inf)
        )
        u = _log_ratio(self.sigma, self.alpha, largest)
        times = jnp.arange(self.num_steps, dtype=self.alpha.dtype)
        t = jnp.interp(jnp.clip(-0.5 * logsnr, u[0], u[-1]), u, times)
        return variance_preserving_point(jnp.where(jnp.isposinf(logsnr), -1.0, t), logsnr)


def _log_ratio(sigma: Array, alpha: Array, before: Array) -> Array:
    """`log(sigma / alpha)`, finite for interpolation.

    Pure noise, alpha = 0, counts as the level 2^12, or as twice the level of log-ratio `before` it
    where that is larger.
    """
    pure = jnp.maximum(jnp.log(2.0**12), before + jnp.log(2.0))
    is_pure = alpha == 0
    return jnp.where(is_pure, pure, jnp.log(sigma) - jnp.log(jnp.where(is_pure, 1.0, alpha)))


def from_alpha_bars(alpha_bars: ArrayLike | Sequence[float]) -> Discrete:
    """A discrete schedule from its signal powers.

    Args:
        alpha_bars: `alpha_bar_t`, `[T]`, strictly decreasing in `[0, 1)`, noise grows with `t`.

    Raises:
        ValueError: not one-dimensional, not decreasing, or outside `[0, 1)`.
    """
    bars = checked_alpha_bars(alpha_bars)
    previous = np.concatenate([[1.0], bars[:-1]])
    return _discrete(bars, 1.0 - bars, 1.0 - bars / previous)


def checked_alpha_bars(alpha_bars: ArrayLike | Sequence[float]) -> np.ndarray:
    """The signal powers of a table as float64 `[T]`; see `from_alpha_bars`."""
    bars = np.asarray(alpha_bars, np.float64)
    if bars.ndim != 1 or bars.size < 1:
        raise ValueError(f"alpha_bars must be a vector [T], got shape {bars.shape}")
    if not (np.all(bars >= 0) and np.all(bars < 1) and np.all(np.diff(bars) < 0)):
        raise ValueError(
            "alpha_bars must lie in [0, 1) and decrease with t, "
            f"got {bars.min():g} .. {bars.max():g}; check the order of the table"
        )
    return bars


def from_betas(betas: ArrayLike | Sequence[float]) -> Discrete:
    """A discrete schedule from the variances of its single steps.

    Args:
        betas: `beta_t`, `[T]`, each in `(0, 1]`.

    Raises:
        ValueError: not one-dimensional, or a beta outside `(0, 1]`.

    Example:
        >>> from_betas([0.1, 0.2]).num_steps
        2
    """
    betas = checked_betas(betas)
    # log1p/expm1 keep 1 - alpha_bar exact where alpha_bar is close to one.
    with np.errstate(divide="ignore"):
        log_bars = np.cumsum(np.log1p(-betas))
    return _discrete(np.exp(log_bars), -np.expm1(log_bars), betas)


def checked_betas(betas: ArrayLike | Sequence[float]) -> np.ndarray:
    """The variances of a table's single steps as float64 `[T]`; see `from_betas`."""
    betas = np.asarray(betas, np.float64)
    if betas.ndim != 1 or betas.size < 1:
        raise ValueError(f"betas must be a vector [T], got shape {betas.shape}")
    if not (np.all(betas > 0) and np.all(betas <= 1)):
        raise ValueError(
            f"every beta must lie in (0, 1], got {betas.min():g} .. {betas.max():g}; "
            "lower the schedule's end or cap it"
        )
    return betas


def _discrete(bars: np.ndarray, one_minus_bars: np.ndarray, betas: np.ndarray) -> Discrete:
    dtype = table_dtype()
    return Discrete(
        alpha=jnp.asarray(np.sqrt(bars), dtype),
        sigma=jnp.asarray(np.sqrt(one_minus_bars), dtype),
        beta=jnp.asarray(betas, dtype),
    )


def zero_terminal_snr(schedule: Discrete) -> Discrete:
    """Shift and scale `alpha` so that the last step is pure noise (Lin et al. 2023, alg. 1).

    `alpha_t <- (alpha_t - alpha_T) alpha_1 / (alpha_1 - alpha_T)`. Use v- or x0-prediction with
    it: eps says nothing about the data where `alpha` is zero.

    Raises:
        ValueError: a table of a single step.
    """
    if schedule.num_steps < 2:
        raise ValueError("zero terminal SNR needs a table of at least 2 steps, got 1")
    alpha = np.sqrt(1 - np.asarray(schedule.sigma, np.float64) ** 2)
    alpha = (alpha - alpha[-1]) * alpha[0] / (alpha[0] - alpha[-1])
    return from_alpha_bars(alpha**2)


def warn_if_signal_remains(schedule: Discrete, *, name: str = "this schedule") -> float:
    """Warn, with the figure, where a schedule's noisiest point is far from pure noise.

    Returns:
        `alpha_bar_T`.
    """
    signal = float(np.asarray(schedule.alpha)[-1] ** 2)
    if signal > TERMINAL_SIGNAL_LIMIT:
        warnings.warn(
            f"{name} ends at alpha_bar_T = {signal:.3f}: {100 * signal:.1f} % of the signal's "
            "power is left where sampling starts from N(0, I), so samples are biased; use more "
            "steps, larger betas, or a cosine schedule",
            stacklevel=2,
        )
    return signal
