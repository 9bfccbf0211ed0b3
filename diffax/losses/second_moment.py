"""Times drawn by how much the loss varies there, as training finds it out."""

import dataclasses
from typing import Any, Self

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from diffax.losses.times import at_fraction
from diffax.noun import check_range, noun, number, structure
from diffax.schedules import EDM, Discrete, Point, Schedule

_LEAST = 1e-20  # of a second moment: a loss of zero is no reason never to look there again


@noun
class SecondMoment:
    """Importance sampling with `p(t) ~ sqrt(E[L_t^2])` (Nichol & Dhariwal 2021, section 3.3).

    The loss is divided by p, so that its expectation is that of uniform times; its variance is the
    least that a choice of times can give. The second moments are running means, one for each of
    `bins` equal parts of time. Times are uniform until every part was seen `seen` times.

    Attributes:
        bins: parts of time, >= 1; of a table not more than it has steps.
        decay: of the running means, in [0, 1), for each value.
        uniform: share of times that are uniform, in [0, 1], so that none is forgotten.
        seen: losses of a part before it counts, >= 1; ten in the paper.
        params: `{"moment": E[L^2] [bins], "count": values so far [bins]}` as found out; None: as
            at the start of training.
    """

    bins: int = structure(default=50)
    decay: float = structure(default=0.95)
    uniform: ArrayLike = number(default=0.001)
    seen: ArrayLike = number(default=10)
    params: Any = None

    def __post_init__(self) -> None:
        """Checks plain numbers."""
        check_range("bins", self.bins, least=1)
        check_range("decay", self.decay, least=0, below=1)
        check_range("uniform", self.uniform, least=0, most=1)
        check_range("seen", self.seen, least=1)

    def init(self) -> dict[str, Array]:
        """Nothing found out yet."""
        return {"moment": jnp.zeros(self.bins), "count": jnp.zeros(self.bins)}

    def with_params(self, params: Any) -> Self:
        """With what was found out."""
        return dataclasses.replace(self, params=params)

    def __call__(self, key: Array, schedule: Schedule, batch: int) -> Point:
        """A point for each of `batch` examples, fields `[B]`, in as many strata of p.

        Raises:
            ValueError: the schedule's times are EDM's noise levels, or a table with fewer steps
                than there are parts.
        """
        _check(self, schedule)
        share = (jax.random.uniform(key, ()) + jnp.arange(batch) / batch) % 1.0
        fraction = jnp.interp(share, self._cumulative(), self._edges())
        if isinstance(schedule, Discrete):
            index = jnp.floor(fraction * schedule.num_steps)
            return schedule.at(jnp.clip(index, 0, schedule.num_steps - 1))
        return at_fraction(schedule, fraction)

    def importance(self, point: Point, schedule: Schedule) -> Array:
        """The factor 1 / p on each example's loss, `[B]`; its mean over drawn times is 1."""
        if isinstance(schedule, Discrete):
            low, high = (self._below((point.t + i) / schedule.num_steps) for i in (0, 1))
            return 1 / (schedule.num_steps * (high - low))
        return 1 / (self.bins * self._shares()[self._bin(point, schedule)])

    def rank(self, point: Point, schedule: Schedule) -> Array:
        """The share, `[B]` in 0 to 1, of all drawn times that lie below each of these."""
        return self._below(_fraction(point, schedule))

    def after(self, point: Point, schedule: Schedule, loss: Array) -> dict[str, Array]:
        """What is known after a batch.

        Args:
            point: where it looked, fields `[B]`.
            schedule: the noise schedule.
            loss: each example's, without importance, `[B]`.
        """
        known = self.init() if self.params is None else self.params
        inside = jax.nn.one_hot(self._bin(point, schedule), self.bins)
        new = inside.sum(axis=0)
        mean = inside.T @ jax.lax.stop_gradient(loss) ** 2 / jnp.maximum(new, 1)
        count = known["count"] + new
        # The first values are averaged evenly, later ones forgotten one by one.
        kept = jnp.minimum(self.decay**new, known["count"] / jnp.maximum(count, 1))
        return {"moment": kept * known["moment"] + (1 - kept) * mean, "count": count}

    def _shares(self) -> Array:
        """The probability of each part, `[bins]`."""
        even = jnp.full(self.bins, 1 / self.bins)
        if self.params is None:
            return even
        size = jnp.sqrt(jnp.maximum(self.params["moment"], _LEAST))
        learned = (1 - self.uniform) * size / size.sum() + self.uniform * even
        return jnp.where(jnp.all(self.params["count"] >= self.seen), learned, even)

    def _edges(self) -> Array:
        return jnp.arange(self.bins + 1) / self.bins

    def _cumulative(self) -> Array:
        shares = self._shares()
        total = jnp.concatenate([jnp.zeros(1), jnp.cumsum(shares)])
        return total / total[-1]

    def _below(self, fraction: Array) -> Array:
        return jnp.interp(fraction, self._edges(), self._cumulative())

    def _bin(self, point: Point, schedule: Schedule) -> Array:
        index = jnp.floor(_fraction(point, schedule) * self.bins).astype(jnp.int32)
        return jnp.clip(index, 0, self.bins - 1)


def _fraction(point: Point, schedule: Schedule) -> Array:
    """Where a time lies among all, `[B]` in 0 to 1."""
    if isinstance(schedule, Discrete):
        return (point.t + 0.5) / schedule.num_steps
    return point.t / schedule.start.t


def _check(times: SecondMoment, schedule: Schedule) -> None:
    if isinstance(schedule, EDM):
        raise ValueError(
            "SecondMoment draws times evenly at first, which EDM's noise levels are not; use "
            "LogNormal times, or another schedule"
        )
    if isinstance(schedule, Discrete) and schedule.num_steps < times.bins:
        raise ValueError(
            f"SecondMoment has {times.bins} bins, the schedule {schedule.num_steps} steps; set "
            "times.bins to fewer"
        )
