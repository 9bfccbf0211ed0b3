"""Heun's method: EDM's sampler, deterministic or with churn, and its form for flow matching."""

import jax
from jax import Array
from jax.typing import ArrayLike

from diffax.denoiser import Denoiser
from diffax.noun import noun, number, structure
from diffax.schedules import Point, Schedule
from diffax.solvers.churn import churned
from diffax.solvers.euler import check_churn


@noun
class Heun:
    """EDM's sampler (Karras et al. 2022, algorithm 2): second order, two network calls a step.

    The step into the clean end is Euler's, one call: `2 S - 1` calls in all.

    Attributes:
        schedule: gives the point at a raised noise level; needed for churn only.
        churn: `S_churn`, total amount of noise added over the run; traced. 0 is the ODE.
        churn_min: `S_tmin`, smallest k = sigma / alpha at which noise is added.
        churn_max: `S_tmax`, largest.
        churn_noise: `S_noise`, scale of the added noise.
        space: the variable that is stepped: `scaled`, `x / alpha` in k (EDM), or `straight`, x
            itself, averaging the velocity `eps - x0` over the straight path (flow matching).
    """

    schedule: Schedule | None = None
    churn: ArrayLike = number(0.0)
    churn_min: ArrayLike = number(0.0)
    churn_max: ArrayLike = number(float("inf"))
    churn_noise: ArrayLike = number(1.0)
    space: str = structure("scaled")

    def __post_init__(self):
        check_churn(self.schedule, self.churn)
        if self.space not in ("scaled", "straight"):
            raise ValueError(f"space should be scaled or straight, got {self.space!r}")

    def init(self, x: Array, grid: Point) -> int:
        """Number of steps, over which the churn is spread."""
        return grid.t.shape[0] - 1

    def step(
        self, denoiser: Denoiser, x: Array, state: int, here: Point, there: Point, keys: Array
    ) -> tuple[Array, int]:
        """Euler, then again with the mean of the slopes at both ends."""
        if self.schedule is not None:
            x, here = churned(self, x, here, state, keys)
        first = denoiser(x, here)
        euler = there.alpha * first.x0 + there.sigma * first.eps

        def correct(_):
            second = denoiser(euler.astype(x.dtype), there)
            if self.space == "straight":
                # x + int x0 d alpha + int eps d sigma, both by the trapezoid rule.
                turn = (there.alpha - here.alpha) * (second.x0 - first.x0)
                return euler + 0.5 * (turn + (there.sigma - here.sigma) * (second.eps - first.eps))
            width = there.sigma - there.alpha * here.sigma / here.alpha
            return euler + 0.5 * width * (second.eps - first.eps)

        moved = jax.lax.cond(there.sigma > 0, correct, lambda _: euler, None)
        return moved.astype(x.dtype), state
