"""Euler's method on the probability-flow ODE, plain, with churn, and ancestral."""

from jax import Array
from jax.typing import ArrayLike

from diffax.denoiser import Denoiser
from diffax.noun import noun, number
from diffax.schedules import Point, Schedule
from diffax.solvers.churn import churned
from diffax.solvers.ddim import DDIM


@noun
class Euler:
    """Euler on `d(x / alpha) / dk = eps`, `k = sigma / alpha` (Karras et al. 2022, eq. 1).

    Algebraically DDIM with eta 0, and on the straight path the Euler step of flow matching. With
    churn, noise is added first and the network is asked at the raised level (algorithm 2, lines
    4-6). One network call a step.

    Attributes:
        schedule: gives the point at a raised noise level; needed for churn only.
        churn: `S_churn`, total amount of noise added over the run; traced.
        churn_min: `S_tmin`, smallest k at which noise is added.
        churn_max: `S_tmax`, largest.
        churn_noise: `S_noise`, scale of the added noise, about 1.003 to 1.007.
    """

    schedule: Schedule | None = None
    churn: ArrayLike = number(0.0)
    churn_min: ArrayLike = number(0.0)
    churn_max: ArrayLike = number(float("inf"))
    churn_noise: ArrayLike = number(1.0)

    def __post_init__(self):
        check_churn(self.schedule, self.churn)

    def init(self, x: Array, grid: Point) -> int:
        """Number of steps, over which the churn is spread."""
        return grid.t.shape[0] - 1

    def step(
        self, denoiser: Denoiser, x: Array, state: int, here: Point, there: Point, keys: Array
    ) -> tuple[Array, int]:
        """Follow the slope at `here` to `there`."""
        if self.schedule is not None:
            x, here = churned(self, x, here, state, keys)
        guess = denoiser(x, here)
        return (there.alpha * guess.x0 + there.sigma * guess.eps).astype(x.dtype), state


def check_churn(schedule: Schedule | None, churn: ArrayLike) -> None:
    """Churn needs a schedule; refuse a concrete churn without one."""
    if schedule is None and isinstance(churn, int | float) and churn != 0:
        raise ValueError(f"churn {churn} needs the noise schedule: give schedule=...")


@noun
class EulerAncestral(DDIM):
    """Euler to a lower level, then noise back up to the next (k-diffusion's "Euler a").

    The split `k_up^2 = eta^2 k'^2 (k^2 - k'^2) / k^2`, `k_down^2 = k'^2 - k_up^2` makes it the same
    map as DDIM's eq. 12 with the same eta, DDPM with its small variance at eta 1; so it is written
    once. One network call a step.

    Attributes:
        eta: 0 is Euler, 1 ancestral; traced.
    """

    eta: ArrayLike = number(1.0)
