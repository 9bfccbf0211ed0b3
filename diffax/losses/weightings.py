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
from diffax.schedules import Discrete, Point, Schedule, rate


class Weighting(Protocol):
    """What every weighting offers."""

    def __call__(
        self, point: Point, parameterization: Parameterization, schedule: Schedule
    ) -> Array:
        """The weight of each example's squared error, `[B]`."""


@noun
class Constant:
    """`w = 1`: the simple loss (Ho et al. 2020, eq. 14)."""

    def __call__(
        self, point: Point, parameterization: Parameterization, schedule: Schedule
    ) -> Array:
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
        >>> table = schedules.linear(1000)
        >>> float(MinSNR(5.0)(table.at(999), parameterization.Eps(), table))
        1.0
    """

    gamma: ArrayLike = number(default=5.0)

    def __post_init__(self) -> None:
        """Checks plain numbers."""
        check_range("gamma", self.gamma, above=0)

    def __call__(
        self, point: Point, parameterization: Parameterization, schedule: Schedule
    ) -> Array:
        """The weight of each example's squared error, `[B]`."""
        snr = (point.alpha / point.sigma) ** 2
        return _from_x0_weight(jnp.minimum(snr, self.gamma), point, parameterization)


@noun
class EDM:
    """`w = (k^2 + sigma_data^2) / (k sigma_data)^2` on the error of x0, `k = sigma / alpha`.

    EDM's weighting (Karras et al. 2022, table 1) for any target; for the EDM parameterization with
    the same `sigma_data` it is 1.

    Attributes:
        sigma_data: standard deviation of the data, > 0.
    """

    sigma_data: ArrayLike = number(default=0.5)

    def __post_init__(self) -> None:
        """Checks plain numbers."""
        check_range("sigma_data", self.sigma_data, above=0)

    def __call__(
        self, point: Point, parameterization: Parameterization, schedule: Schedule
    ) -> Array:
        """The weight of each example's squared error, `[B]`."""
        weight = (point.alpha / point.sigma) ** 2 + self.sigma_data**-2
        return _from_x0_weight(weight, point, parameterization)


@noun
class Likelihood:
    """`w = g(t)^2 / sigma^2 = -d logsnr / dt` on the error of eps (Song et al. 2021b, eq. 7).

    With uniform times of a continuous schedule the loss is then twice the diffusion term of the
    variational bound, in nats a dimension (Kingma et al. 2021, eq. 17).
    """

    def __call__(
        self, point: Point, parameterization: Parameterization, schedule: Schedule
    ) -> Array:
        """The weight of each example's squared error, `[B]`.

        Raises:
            ValueError: the schedule is a table.
        """
        if isinstance(schedule, Discrete):
            raise ValueError(
                "weighting likelihood needs a schedule of continuous time, such as vp; with a "
                "table learn the variances: variance=LearnedVariance()"
            )
        moving = rate(schedule, point.t)
        # -logsnr' alpha^2 / sigma^2, the weight on the error of x0, which exists at alpha = 0.
        turn = point.alpha * moving.sigma - moving.alpha * point.sigma
        return _from_x0_weight(2 * turn * point.alpha / point.sigma**3, point, parameterization)


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

    def __call__(
        self, point: Point, parameterization: Parameterization, schedule: Schedule
    ) -> Array:
        """The weight of each example's squared error, `[B]`."""
        snr = (point.alpha / point.sigma) ** 2
        return _from_x0_weight(snr / (self.k + snr) ** self.gamma, point, parameterization)


WEIGHTINGS: dict[str, type] = {
    "constant": Constant,
    "min_snr": MinSNR,
    "p2": P2,
    "edm": EDM,
    "likelihood": Likelihood,
}


def _from_x0_weight(weight: Array, point: Point, parameterization: Parameterization) -> Array:
    """`weight / sensitivity`: the weight on the target's error that equals `weight` on x0's."""
    sensitivity = parameterization.sensitivity(point)
    # At pure noise both vanish for eps: no gradient for x0 can come from there.
    return jnp.where(sensitivity > 0, weight / jnp.maximum(sensitivity, 1e-20), 0.0)
