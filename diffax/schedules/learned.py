"""A noise schedule that training learns along with the network."""

import dataclasses
from typing import Any, Self

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from diffax.noun import check_range, noun, number
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

    def at(self, t: ArrayLike) -> Point:
        """The point at `t` in `[0, 1]`."""
        t = checked_times(t, 0, 1, table_dtype())
        start, slope = self._line()
        return variance_preserving_point(t, -(start + slope * t))

    def at_logsnr(self, logsnr: ArrayLike) -> Point:
        """The point with a given log-SNR; `t` is clamped to `[0, 1]`."""
        logsnr = jnp.asarray(logsnr, table_dtype())
        start, slope = self._line()
        return variance_preserving_point(jnp.clip((-logsnr - start) / slope, 0.0, 1.0), logsnr)

    @property
    def end(self) -> Point:
        """The clean end: `t = 0, alpha = 1, sigma = 0`."""
        zero = jnp.zeros((), table_dtype())
        return Point(zero, jnp.ones_like(zero), zero)
