"""How much every example counts.

A weight multiplies the squared error of the network's own target. It is stated on the error of x0
or of eps, as in its paper, and means the same for every parameterization.
"""

from typing import Protocol

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from diffax.noun import check_range, noun, number
from diffax.parameterization import Parameterization
from diffax.schedules import Point


class Weighting(Protocol):
    """What every weighting offers."""

    def __call__(self, point: Point, parameterization: Parameterization) -> Array:
        """The weight of each example's squared error, `[B]`."""


@noun
class Constant:
    """`w = 1`: the simple loss (Ho et al. 2020, eq. 14)."""

    def __call__(self, point: Point, parameterization: Parameterization) -> Array:
        """The weight of each example's squared error, `[B]`."""
        return jnp.ones_like(point.alpha)


@noun
class MinSNR:
    """`w = min(SNR, gamma)` on the error of x0 (Hang et al. 2023, eq. 8), whatever the target.

    For eps this is `min(SNR, gamma) / SNR`, for v `min(SNR, gamma) / (SNR + 1)`.

    Attributes:
        gamma: largest weight, > 0; the paper takes 5.

    Example:
        >>> from diffax import parameterization, schedules
        >>> pure_noise_nearly = schedules.linear(1000).at(999)
        >>> float(MinSNR(5.0)(pure_noise_nearly, parameterization.Eps()))
        1.0
    """

    gamma: ArrayLike = number(default=5.0)

    def __post_init__(self) -> None:
        """Checks plain numbers."""
        check_range("gamma", self.gamma, above=0)

    def __call__(self, point: Point, parameterization: Parameterization) -> Array:
        """The weight of each example's squared error, `[B]`."""
        snr = (point.alpha / point.sigma) ** 2
        return _from_x0_weight(jnp.minimum(snr, self.gamma), point, parameterization)


@noun
class P2:
    """`w = 1 / (k + SNR)^gamma` on the error of eps (Choi et al. 2022, eq. 8).

    On the error of x0 this is `SNR / (k + SNR)^gamma`.

    Attributes:
        gamma: how much the weight falls towards clean data, >= 0; 0 is none.
        k: keeps the weight finite at pure noise, > 0.
    """

    gamma: ArrayLike = number(default=1.0)
    k: ArrayLike = number(default=1.0)

    def __post_init__(self) -> None:
        """Checks plain numbers."""
        check_range("gamma", self.gamma, least=0)
        check_range("k", self.k, above=0)

    def __call__(self, point: Point, parameterization: Parameterization) -> Array:
        """The weight of each example's squared error, `[B]`."""
        snr = (point.alpha / point.sigma) ** 2
        return _from_x0_weight(snr / (self.k + snr) ** self.gamma, point, parameterization)


WEIGHTINGS: dict[str, type] = {"constant": Constant, "min_snr": MinSNR, "p2": P2}


def _from_x0_weight(weight: Array, point: Point, parameterization: Parameterization) -> Array:
    """`weight / sensitivity`: the weight on the target's error that equals `weight` on x0's."""
    sensitivity = parameterization.sensitivity(point)
    # At pure noise both vanish for eps: no gradient for x0 can come from there.
    return jnp.where(sensitivity > 0, weight / jnp.maximum(sensitivity, 1e-20), 0.0)
