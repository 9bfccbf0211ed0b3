"""Where in time a loss looks: one point of the path for every example of a batch."""

from typing import Protocol

import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.special import logit
from jax.scipy.stats import norm
from jax.typing import ArrayLike

from diffax.noun import check_range, noun, number
from diffax.schedules import EDM, Discrete, Point, Schedule, shift_time


class TimeSampling(Protocol):
    """What every time sampling offers."""

    def __call__(self, key: Array, schedule: Schedule, batch: int) -> Point:
        """A point for each of `batch` examples, fields `[B]`."""

    def rank(self, point: Point, schedule: Schedule) -> Array:
        """The share, `[B]` in 0 to 1, of all drawn times that lie below each of these.

        Ranks of drawn times are uniform, so that their quartiles hold a quarter of the examples
        each, whatever the time sampling.
        """


class _Even:
    """Times that are uniform one by one, however they are drawn together."""

    def rank(self, point: Point, schedule: Schedule) -> Array:
        """The share, `[B]` in 0 to 1, of all drawn times that lie below each of these."""
        if isinstance(schedule, Discrete):
            return (point.t + 0.5) / schedule.num_steps
        return point.t / schedule.start.t


@noun
class Uniform(_Even):
    """Independent uniform times: table entries, or from the clean end to the schedule's start.

    Ho et al. 2020, algorithm 1. The times of EDM are noise levels: there take `LogNormal`.

    Example:
        >>> from diffax import schedules
        >>> point = Uniform()(jax.random.key(0), schedules.linear(10), batch=4)
        >>> point.t.shape, bool(point.t.max() <= 9)
        ((4,), True)
    """

    def __call__(self, key: Array, schedule: Schedule, batch: int) -> Point:
        """A point for each of `batch` examples, fields `[B]`."""
        if isinstance(schedule, Discrete):
            return schedule.at(jax.random.randint(key, (batch,), 0, schedule.num_steps))
        return at_fraction(schedule, jax.random.uniform(key, (batch,)))


@noun
class Antithetic(_Even):
    """Uniform times in pairs `(t, T - 1 - t)`, which lowers the variance of the mean loss.

    An odd batch leaves the last time without its twin.
    """

    def __call__(self, key: Array, schedule: Schedule, batch: int) -> Point:
        """A point for each of `batch` examples, fields `[B]`."""
        half = (batch + 1) // 2
        if isinstance(schedule, Discrete):
            last = schedule.num_steps - 1
            drawn = jax.random.randint(key, (half,), 0, schedule.num_steps)
            return schedule.at(jnp.concatenate([drawn, last - drawn])[:batch])
        drawn = jax.random.uniform(key, (half,))
        return at_fraction(schedule, jnp.concatenate([drawn, 1 - drawn])[:batch])


@noun
class Stratified(_Even):
    """One shared uniform offset, times spread evenly (Kingma et al. 2021, appendix I.1)."""

    def __call__(self, key: Array, schedule: Schedule, batch: int) -> Point:
        """A point for each of `batch` examples, fields `[B]`."""
        offset = jax.random.uniform(key, ())
        fractions = (offset + jnp.arange(batch) / batch) % 1.0
        if isinstance(schedule, Discrete):
            index = jnp.floor(fractions * schedule.num_steps)
            return schedule.at(jnp.minimum(index, schedule.num_steps - 1))
        return at_fraction(schedule, fractions)


@noun
class LogNormal:
    """EDM's times: `log(sigma / alpha)` is normal (Karras et al. 2022, table 1).

    Attributes:
        mean: of `log(sigma / alpha)`, in nats; the paper's `P_mean`.
        std: its standard deviation, > 0; the paper's `P_std`.
    """

    mean: ArrayLike = number(default=-1.2)
    std: ArrayLike = number(default=1.2)

    def __post_init__(self) -> None:
        """Checks plain numbers."""
        check_range("mean", self.mean)
        check_range("std", self.std, above=0)

    def __call__(self, key: Array, schedule: Schedule, batch: int) -> Point:
        """A point for each of `batch` examples, fields `[B]`."""
        log_ratio = self.mean + self.std * jax.random.normal(key, (batch,))
        return schedule.at_logsnr(-2 * log_ratio)

    def rank(self, point: Point, schedule: Schedule) -> Array:
        """The share, `[B]` in 0 to 1, of all drawn times that lie below each of these."""
        return norm.cdf((jnp.log(point.sigma_ratio) - self.mean) / self.std)


@noun
class LogitNormal:
    """Flow matching's times: `logit(t)` is normal (Esser et al. 2024, eq. 19); `t` in (0, 1).

    Attributes:
        mean: of `logit(t)`; above 0 moves the times towards noise.
        std: its standard deviation, > 0.
    """

    mean: ArrayLike = number(default=0.0)
    std: ArrayLike = number(default=1.0)

    def __post_init__(self) -> None:
        """Checks plain numbers."""
        check_range("mean", self.mean)
        check_range("std", self.std, above=0)

    def __call__(self, key: Array, schedule: Schedule, batch: int) -> Point:
        """A point for each of `batch` examples, fields `[B]`.

        Raises:
            ValueError: the schedule's times are steps of a table, or EDM's noise levels.
        """
        if isinstance(schedule, Discrete | EDM):
            what = "steps of a table" if isinstance(schedule, Discrete) else "EDM's noise levels"
            raise ValueError(
                f"LogitNormal draws times between 0 and 1, which {what} are not; use another "
                "continuous schedule, or Uniform, Antithetic, Stratified or LogNormal times"
            )
        return schedule.at(jax.nn.sigmoid(self.mean + self.std * jax.random.normal(key, (batch,))))

    def rank(self, point: Point, schedule: Schedule) -> Array:
        """The share, `[B]` in 0 to 1, of all drawn times that lie below each of these."""
        return norm.cdf((logit(point.t) - self.mean) / self.std)


@noun
class Shifted:
    """Uniform flow times moved towards noise for larger data (Esser et al. 2024, eq. 23).

    Logit-normal times are shifted by their mean: `LogitNormal(mean=log(shift))`.

    Attributes:
        shift: > 0; `sqrt(pixels / reference pixels)`, 1 leaves the times as they are.
    """

    shift: ArrayLike = number(default=3.0)

    def __post_init__(self) -> None:
        """Checks a plain number."""
        check_range("shift", self.shift, above=0)

    def __call__(self, key: Array, schedule: Schedule, batch: int) -> Point:
        """A point for each of `batch` examples, fields `[B]`.

        Raises:
            ValueError: the schedule is a table.
        """
        if isinstance(schedule, Discrete):
            raise ValueError(
                "Shifted moves the times of a continuous schedule; with a table use Uniform, "
                "Antithetic or Stratified times"
            )
        return at_fraction(schedule, shift_time(jax.random.uniform(key, (batch,)), self.shift))

    def rank(self, point: Point, schedule: Schedule) -> Array:
        """The share, `[B]` in 0 to 1, of all drawn times that lie below each of these."""
        return shift_time(point.t / schedule.start.t, 1 / jnp.asarray(self.shift))


@noun
class EvenLogSNR:
    """Log-SNRs uniform between the schedule's ends: importance sampling for the likelihood.

    With `Constant` weights on eps it has the expectation that `Likelihood` weights have with
    uniform times, up to a constant, at less variance (Song et al. 2021b, section 3.2; Kingma et al.
    2021, eq. 18).
    """

    def __call__(self, key: Array, schedule: Schedule, batch: int) -> Point:
        """A point for each of `batch` examples, fields `[B]`.

        Raises:
            ValueError: the schedule is a table.
        """
        if isinstance(schedule, Discrete):
            raise ValueError(
                "EvenLogSNR draws log-SNRs between those of a table's steps; use a continuous "
                "schedule, or Uniform, Antithetic or Stratified times"
            )
        noisy, clean = self._ends(schedule)
        return schedule.at_logsnr(noisy + (clean - noisy) * jax.random.uniform(key, (batch,)))

    def rank(self, point: Point, schedule: Schedule) -> Array:
        """The share, `[B]` in 0 to 1, of all drawn times that lie below each of these."""
        noisy, clean = self._ends(schedule)
        return (clean - point.logsnr) / (clean - noisy)

    def _ends(self, schedule: Schedule) -> tuple[Array, Array]:
        noisy = jnp.maximum(schedule.start.logsnr, -2 * _LARGEST_LOG_RATIO)
        return noisy, schedule.at(_LEAST * schedule.start.t).logsnr


# At the clean end x0-prediction's eps and every SNR weight are undefined; at pure noise, where
# flows begin, log-SNRs.
_LEAST = 1e-5
_LARGEST_LOG_RATIO = 8.0


def at_fraction(schedule: Schedule, fraction: Array) -> Point:
    """The points at a share, `[B]` in 0 to 1, of a continuous schedule's own times."""
    return schedule.at(schedule.start.t * jnp.clip(fraction, _LEAST, 1.0))
