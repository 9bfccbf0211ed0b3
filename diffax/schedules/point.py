"""A place on the noising path, and what every noise schedule offers."""

from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike, DTypeLike

from diffax.noun import noun


@noun
class Point:
    """One place (or a batch, or a grid of places) on the noising path.

    Attributes:
        t: time, as the network is told it; float32, scalar or `[B]` or `[S+1]`.
        alpha: scale of the data, same shape.
        sigma: scale of the noise, same shape.
    """

    t: Array
    alpha: Array
    sigma: Array

    @property
    def logsnr(self) -> Array:
        """`log(alpha^2 / sigma^2)`; +inf at the clean end, -inf for pure noise."""
        return 2.0 * (jnp.log(self.alpha) - jnp.log(self.sigma))

    @property
    def sigma_ratio(self) -> Array:
        """`sigma / alpha`: the noise level of EDM and k-diffusion (Karras et al. 2022)."""
        return self.sigma / self.alpha

    def broadcast(self, x: Array) -> "Point":
        """The same point with fields shaped to multiply `x` (`[B, ...]`); scalars stay scalars."""
        return jax.tree.map(lambda field: along_batch(field, x), self)

    def __getitem__(self, index: Any) -> "Point":
        """Points of a grid or batch by index or slice."""
        return jax.tree.map(lambda field: field[index], self)


class Schedule(Protocol):
    """What every noise schedule offers."""

    def at(self, t: ArrayLike) -> Point:
        """The point at time `t`."""

    def at_logsnr(self, logsnr: ArrayLike) -> Point:
        """The point whose log-SNR is given; the inverse of `at(t).logsnr`."""

    @property
    def start(self) -> Point:
        """The noisiest point, where sampling begins."""

    @property
    def end(self) -> Point:
        """The clean end, where sampling stops."""


def rate(schedule: Schedule, t: Array) -> Point:
    """How fast the path moves: `alpha'(t)` and `sigma'(t)` as a Point, whose own t is 1.

    Args:
        schedule: of a continuous time.
        t: float times, any shape, inside the schedule's range; traced or not.

    Example:
        >>> from diffax import schedules
        >>> moving = rate(schedules.RectifiedFlow(), jnp.array(0.3))
        >>> float(moving.alpha), float(moving.sigma)
        (-1.0, 1.0)
    """
    return jax.jvp(schedule.at, (t,), (jnp.ones_like(t),))[1]


def along_batch(values: ArrayLike, x: Array) -> Array:
    """One value an example, `[B]`, shaped to multiply `x` (`[B, ...]`); scalars stay scalars."""
    values = jnp.asarray(values)
    return values.reshape(values.shape + (1,) * (x.ndim - 1)) if values.ndim else values


def checked_times(t: ArrayLike, low: float, high: float, dtype: DTypeLike) -> Array:
    """`t` as an array; a concrete time outside `[low, high]` is refused."""
    if not isinstance(t, jax.core.Tracer):
        values = np.asarray(t, np.float64)
        if values.size and not (values.min() >= low and values.max() <= high):
            raise ValueError(
                f"time {values.min():g} .. {values.max():g} is outside this schedule's "
                f"[{low:g}, {high:g}]; pass times inside it"
            )
    return jnp.asarray(t, dtype)


def variance_preserving_point(t: Array, logsnr: Array) -> Point:
    """The point with `alpha^2 + sigma^2 = 1` and the given log-SNR."""
    return Point(t, _root_of_sigmoid(logsnr), _root_of_sigmoid(-logsnr))


def _root_of_sigmoid(x: Array) -> Array:
    """`sqrt(sigmoid(x))`, which is `exp(x / 2)` where the sigmoid itself would underflow."""
    near = jnp.sqrt(jax.nn.sigmoid(jnp.maximum(x, -80.0)))
    return jnp.where(x < -80.0, jnp.exp(0.5 * jnp.minimum(x, -80.0)), near)


def root(x: Array) -> Array:
    """Square root; zero, with slope zero, for zero and for what rounding made negative."""
    nothing = x <= 0
    return jnp.where(nothing, 0.0, jnp.sqrt(jnp.where(nothing, 1.0, x)))


def table_dtype() -> np.dtype:
    """float32, or float64 where `jax_enable_x64` is on: the precision schedule tables keep."""
    return jax.dtypes.canonicalize_dtype(np.float64)
