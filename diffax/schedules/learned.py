"""A noise schedule that training learns along with the network."""

import dataclasses
from typing import Any, Self

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from diffax.noun import check_range, noun, number, structure
from diffax.schedules.continuous import Continuous
from diffax.schedules.point import Point, checked_times, table_dtype, variance_preserving_point


@noun
class LearnedLinear(Continuous):
    """`-log SNR = gamma(t) = gamma_0 + |w| t`, variance preserving, both numbers learned.

    The schedule of variational diffusion's image models (Kingma et al. 2021, section 4; the
    monotone function of t that their code calls "learnable scalar"): the bound in continuous time
    depends on a schedule's two ends alone.

    Attributes:
        gamma_min: gamma_0 at the start of training.
        gamma_max: `gamma_0 + |w|` at the start of training.
        params: `{"start": gamma_0, "slope": w}` as learned; None: as at the start of training.

    Example:
        >>> path = LearnedLinear(gamma_min=-10.0, gamma_max=6.0).build()
        >>> float(path.at(0.5).logsnr.round(4))
        2.0
    """

    gamma_min: ArrayLike = number(default=-13.3)
    gamma_max: ArrayLike = number(default=5.0)
    params: Any = None

    def __post_init__(self) -> None:
        """Checks plain numbers."""
        check_range("gamma_min", self.gamma_min)
        low = self.gamma_min if isinstance(self.gamma_min, float) else None
        check_range("gamma_max", self.gamma_max, above=low)

    def build(self) -> Self:
        """The schedule, with its parameters at the start of training."""
        low, high = jnp.asarray(self.gamma_min), jnp.asarray(self.gamma_max)
        return self.with_params({"start": low, "slope": high - low})

    def with_params(self, params: Any) -> Self:
        """The schedule with these parameters."""
        return dataclasses.replace(self, params=params)

    def _line(self) -> tuple[Array, Array]:
        params = self.build().params if self.params is None else self.params
        return params["start"], jnp.abs(params["slope"])

    def _fraction(self, t: Array) -> Array:
        """How far between the two ends gamma is at t: from 0 to 1."""
        return t

    def _time_of(self, fraction: Array) -> Array:
        """The inverse of `_fraction`."""
        return fraction

    def at(self, t: ArrayLike) -> Point:
        """The point at `t` in `[0, 1]`."""
        t = checked_times(t, 0, 1, table_dtype())
        start, slope = self._line()
        return variance_preserving_point(t, -(start + slope * self._fraction(t)))

    def at_logsnr(self, logsnr: ArrayLike) -> Point:
        """The point with a given log-SNR; `t` is clamped to `[0, 1]`."""
        logsnr = jnp.asarray(logsnr, table_dtype())
        start, slope = self._line()
        t = self._time_of(jnp.clip((-logsnr - start) / slope, 0.0, 1.0))
        return variance_preserving_point(t, logsnr)

    @property
    def end(self) -> Point:
        """The clean end: `t = 0, alpha = 1, sigma = 0`."""
        zero = jnp.zeros((), table_dtype())
        return Point(zero, jnp.ones_like(zero), zero)


_STEEP = 20.0  # of a hidden layer's steps over [0, 1], at the start of training


@noun
class LearnedMonotone(LearnedLinear):
    """`gamma(t) = gamma_0 + |w| (g(t) - g(0)) / (g(1) - g(0))`, g a monotone network: all learned.

    Kingma et al. 2021, appendix H: `g(t) = l1(t) + l3(sigmoid(l2(l1(t))))`, three linear layers
    with positive weights, 1 -> 1 -> 1024 -> 1. The bound in continuous time is blind to the shape
    between the ends, which learns to make the bound's estimate vary little, see `losses.spread`.
    It begins as a straight line, up to 1e-3.

    Attributes:
        features: width of the hidden layer.

    Example:
        >>> path = LearnedMonotone(gamma_min=-10.0, gamma_max=6.0, features=16).build()
        >>> [round(float(-path.at(t).logsnr), 3) for t in (0.0, 1.0)]
        [-10.0, 6.0]
    """

    features: int = structure(default=1024)

    def __post_init__(self) -> None:
        """Checks the width."""
        super().__post_init__()
        if not isinstance(self.features, int) or self.features < 1:
            raise ValueError(
                f"features should be a whole number, at least 1, got {self.features!r}"
            )

    def build(self) -> Self:
        """The schedule, with its parameters at the start of training."""
        line = super().build().params
        # Steps side by side from before the start to behind the end: their sum is straight.
        centres = jnp.linspace(-0.5, 1.5, self.features)
        one = jnp.ones(())
        layers = {
            "l1": {"weight": one, "bias": 0 * one},
            "l2": {"weight": _STEEP * jnp.ones_like(centres), "bias": -_STEEP * centres},
            "l3": {"weight": jnp.ones_like(centres)},
        }
        return self.with_params(line | {"shape": layers})

    @property
    def ends(self) -> Self:
        """The same schedule, of which gradients reach the ends alone."""
        return self._learning("start", "slope")

    @property
    def shape(self) -> Self:
        """The same schedule, of which gradients reach the shape between the ends alone."""
        return self._learning("shape")

    def _learning(self, *names: str) -> Self:
        still = jax.lax.stop_gradient(self.params)
        return self.with_params(still | {name: self.params[name] for name in names})

    def _network(self, t: Array) -> Array:
        """`g(t)` of one t; the last layer is a mean, so that its weights are of order one."""
        layers = (self.build().params if self.params is None else self.params)["shape"]
        l1, l2, l3 = (layers[name] for name in ("l1", "l2", "l3"))
        h = jnp.abs(l1["weight"]) * t + l1["bias"]
        steps = jax.nn.sigmoid(jnp.abs(l2["weight"]) * h + l2["bias"])
        return h + jnp.mean(jnp.abs(l3["weight"]) * steps)

    def _fraction(self, t: Array) -> Array:
        first, last = self._network(jnp.zeros(())), self._network(jnp.ones(()))
        return (jnp.vectorize(self._network)(t) - first) / (last - first)

    def _time_of(self, fraction: Array) -> Array:
        """By bisection, and one of Newton's steps that gives it the inverse's derivatives."""
        still, wanted = jax.lax.stop_gradient((self, fraction))

        def halve(_: int, ends: tuple[Array, Array]) -> tuple[Array, Array]:
            low, high = ends
            middle = (low + high) / 2
            below = still._fraction(middle) < wanted
            return jnp.where(below, middle, low), jnp.where(below, high, middle)

        low, high = jax.lax.fori_loop(0, 24, halve, (jnp.zeros_like(wanted), jnp.ones_like(wanted)))
        t = (low + high) / 2
        slope = jax.jvp(still._fraction, (t,), (jnp.ones_like(t),))[1]
        return jnp.clip(t + (fraction - self._fraction(t)) / slope, 0.0, 1.0)
