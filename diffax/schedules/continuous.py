"""Noise schedules as functions of a continuous time, each with its exact inverse in log-SNR."""

from typing import Any, Self

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from diffax.noun import check_range, noun, number
from diffax.schedules.point import (
    Point,
    Schedule,
    checked_times,
    root,
    table_dtype,
    variance_preserving_point,
)


class Continuous(Schedule):
    """What schedules of a continuous time share: they run from `t = 1` to the clean `t = 0`."""

    def build(self) -> Self:
        """The schedule itself: it is its own recipe."""
        return self

    @property
    def start(self) -> Point:
        """The noisiest point, `t = 1`."""
        return self.at(1.0)

    @property
    def end(self) -> Point:
        """The clean end, `t = 0`."""
        return self.at(0.0)


@noun
class VP(Continuous):
    """Variance-preserving SDE (Song et al. 2021, eq. 32-33): DDPM's linear schedule as T grows.

    Attributes:
        beta_min: noise rate at `t = 0`, > 0; `linear(T, b0, b1)` tends to `beta_min = T * b0`.
        beta_max: noise rate at `t = 1`, at least beta_min; likewise `T * b1`.
    """

    beta_min: ArrayLike = number(default=0.1)
    beta_max: ArrayLike = number(default=20.0)

    def __post_init__(self) -> None:
        """Checks plain numbers."""
        check_range("beta_min", self.beta_min, above=0)
        check_range("beta_max", self.beta_max, least=_plain(self.beta_min))

    def at(self, t: ArrayLike) -> Point:
        """The point at `t` in `[0, 1]`."""
        t = checked_times(t, 0, 1, table_dtype())
        log_alpha = self._log_alpha(t)
        return Point(t, jnp.exp(log_alpha), root(-jnp.expm1(2 * log_alpha)))

    def _log_alpha(self, t: Array) -> Array:
        return -0.25 * t**2 * self._slope - 0.5 * t * self.beta_min

    @property
    def _slope(self) -> Any:
        # By its type a number could be a bool, which has no difference.
        return self.beta_max - self.beta_min  # pyrefly: ignore[unsupported-operation]

    def _time_of_log_alpha(self, log_alpha: Array) -> Array:
        # The positive root of the quadratic, written without a difference of close numbers.
        slope = self._slope
        loss = jnp.minimum(-2 * log_alpha, 0.5 * slope + self.beta_min)  # at t = 1 at most
        rate = jnp.sqrt(self.beta_min**2 + 2 * slope * loss)
        return jnp.minimum(2 * loss / (self.beta_min + rate), 1.0)

    def at_logsnr(self, logsnr: ArrayLike) -> Point:
        """The point with a given log-SNR; `t` is clamped to `[0, 1]`."""
        logsnr = jnp.asarray(logsnr, table_dtype())
        log_alpha = 0.5 * jax.nn.log_sigmoid(logsnr)
        return variance_preserving_point(self._time_of_log_alpha(log_alpha), logsnr)


@noun
class SubVP(VP):
    """Sub-variance-preserving SDE (Song et al. 2021, eq. 29): `sigma = 1 - alpha^2`."""

    def at(self, t: ArrayLike) -> Point:
        """The point at `t` in `[0, 1]`."""
        t = checked_times(t, 0, 1, table_dtype())
        log_alpha = self._log_alpha(t)
        return Point(t, jnp.exp(log_alpha), -jnp.expm1(2 * log_alpha))

    def at_logsnr(self, logsnr: ArrayLike) -> Point:
        """The point with a given log-SNR: `(1 - a^2) / a = exp(-logsnr / 2)` solved for a.

        `t` is clamped to `[0, 1]`.
        """
        log_ratio = -0.5 * jnp.asarray(logsnr, table_dtype())
        # arcsinh(exp(u) / 2) is u itself where exp(u) would overflow.
        near = -jnp.arcsinh(0.5 * jnp.exp(jnp.minimum(log_ratio, 40.0)))
        log_alpha = jnp.where(log_ratio > 40.0, -log_ratio, near)
        t = self._time_of_log_alpha(log_alpha)
        return Point(t, jnp.exp(log_alpha), -jnp.expm1(2 * log_alpha))


@noun
class ContinuousCosine(Continuous):
    """The cosine schedule without a cap (Nichol & Dhariwal 2021, eq. 17, as T grows).

    Attributes:
        offset: keeps the noise near `t = 0` from vanishing, >= 0; the paper's `s`.
    """

    offset: ArrayLike = number(default=0.008)

    def __post_init__(self) -> None:
        """Checks plain numbers."""
        check_range("offset", self.offset, least=0)

    def at(self, t: ArrayLike) -> Point:
        """The point at `t` in `[0, 1]`."""
        t = checked_times(t, 0, 1, table_dtype())
        first = self._first_angle()
        turn = t / (1 + self.offset) * jnp.pi / 2
        alpha = jnp.cos(first + turn) / jnp.cos(first)
        # sigma^2 = 1 - alpha^2 = sin(turn) sin(turn + 2 first) / cos(first)^2, without cancelling.
        power = jnp.sin(turn) * jnp.sin(turn + 2 * first)
        sigma = root(jnp.maximum(power, 0.0)) / jnp.cos(first)
        return Point(t, jnp.maximum(alpha, 0.0), sigma)

    def _first_angle(self) -> Array:
        return jnp.asarray(self.offset / (1 + self.offset) * jnp.pi / 2, table_dtype())

    def at_logsnr(self, logsnr: ArrayLike) -> Point:
        """The point with a given log-SNR."""
        logsnr = jnp.asarray(logsnr, table_dtype())
        point = variance_preserving_point(jnp.zeros_like(logsnr), logsnr)
        # The angle first + turn has the cosine alpha cos(first); turn by sine and cosine, each a
        # sum of positive terms: sin(turn) sin(first + whole) = sin(whole)^2 - sin(first)^2.
        sin_first, cos_first = jnp.sin(self._first_angle()), jnp.cos(self._first_angle())
        cos_whole = point.alpha * cos_first
        sin_whole = root(sin_first**2 + (point.sigma * cos_first) ** 2)
        both = sin_whole * cos_first + cos_whole * sin_first
        sin_turn = (point.sigma * cos_first) ** 2 / jnp.where(both == 0, 1.0, both)
        turn = jnp.arctan2(sin_turn, cos_whole * cos_first + sin_whole * sin_first)
        t = jnp.minimum(turn * 2 / jnp.pi * (1 + self.offset), 1.0)
        return Point(t, point.alpha, point.sigma)


@noun
class VE(Continuous):
    """Variance-exploding SDE (Song et al. 2021, eq. 30): `alpha = 1`, sigma geometric in `t`.

    Attributes:
        sigma_min: noise level at `t = 0`, > 0; the clean end lies below it, at sigma 0.
        sigma_max: noise level at `t = 1`, above sigma_min.
    """

    sigma_min: ArrayLike = number(default=0.01)
    sigma_max: ArrayLike = number(default=50.0)

    def __post_init__(self) -> None:
        """Checks plain numbers."""
        check_range("sigma_min", self.sigma_min, above=0)
        check_range("sigma_max", self.sigma_max, above=_plain(self.sigma_min))

    def at(self, t: ArrayLike) -> Point:
        """The point at `t` in `[0, 1]`."""
        t = checked_times(t, 0, 1, table_dtype())
        sigma = jnp.power(self.sigma_max / self.sigma_min, t) * self.sigma_min
        return Point(t, jnp.ones_like(t), sigma)

    def at_logsnr(self, logsnr: ArrayLike) -> Point:
        """The point with a given log-SNR; `t` is clamped to `[0, 1]`."""
        log_sigma = -0.5 * jnp.asarray(logsnr, table_dtype())
        t = (log_sigma - jnp.log(self.sigma_min)) / jnp.log(self.sigma_max / self.sigma_min)
        return Point(jnp.clip(t, 0.0, 1.0), jnp.ones_like(log_sigma), jnp.exp(log_sigma))

    @property
    def end(self) -> Point:
        """The clean end: `t = 0, alpha = 1, sigma = 0`."""
        zero = jnp.zeros((), table_dtype())
        return Point(zero, jnp.ones_like(zero), zero)


@noun
class EDM(Continuous):
    """The schedule of EDM (Karras et al. 2022, table 1): `alpha = 1`, `sigma = t`.

    Attributes:
        sigma_min: smallest noise level a grid uses before the clean end, > 0.
        sigma_max: largest noise level; times are valid in `[0, sigma_max]`.
    """

    sigma_min: ArrayLike = number(default=0.002)
    sigma_max: ArrayLike = number(default=80.0)

    def __post_init__(self) -> None:
        """Checks plain numbers."""
        check_range("sigma_min", self.sigma_min, above=0)
        check_range("sigma_max", self.sigma_max, above=_plain(self.sigma_min))

    def at(self, t: ArrayLike) -> Point:
        """The point at noise level `t`."""
        t = checked_times(t, 0, jnp.inf, table_dtype())
        return Point(t, jnp.ones_like(t), t)

    def at_logsnr(self, logsnr: ArrayLike) -> Point:
        """The point with a given log-SNR."""
        return self.at(jnp.exp(-0.5 * jnp.asarray(logsnr, table_dtype())))

    @property
    def start(self) -> Point:
        """The point at `sigma_max`."""
        return self.at(self.sigma_max)


@noun
class RectifiedFlow(Continuous):
    """The straight path `x_t = (1 - t) x_0 + t eps` (Liu et al. 2023; Lipman et al. 2023).

    A resolution shift belongs to the grid or the training times: see `shift_time`.
    """

    def at(self, t: ArrayLike) -> Point:
        """The point at `t` in `[0, 1]`."""
        t = checked_times(t, 0, 1, table_dtype())
        return Point(t, 1 - t, t)

    def at_logsnr(self, logsnr: ArrayLike) -> Point:
        """The point with a given log-SNR: `t = sigmoid(-logsnr / 2)`."""
        half = 0.5 * jnp.asarray(logsnr, table_dtype())
        t = jax.nn.sigmoid(-half)
        return Point(t, jax.nn.sigmoid(half), t)


def shift_time(t: ArrayLike, shift: ArrayLike) -> Array:
    """Move flow times towards noise for larger images (Esser et al. 2024, eq. 23).

    Args:
        t: times in `[0, 1]`.
        shift: `sqrt(pixels / reference pixels)`; 1 leaves the times as they are.
    """
    t = jnp.asarray(t, table_dtype())
    return t * shift / (1 + t * (shift - 1))


def _plain(number: ArrayLike) -> float | None:
    """A bound for another number, or None where this one may be traced."""
    return number if isinstance(number, float) else None
