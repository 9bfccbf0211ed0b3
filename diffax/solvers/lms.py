"""Linear multistep on the probability-flow ODE in sigma / alpha (k-diffusion's LMS)."""

import jax.numpy as jnp
from jax import Array

from diffax.denoiser import Denoiser
from diffax.noun import noun, structure
from diffax.schedules import Point
from diffax.solvers.description import Description, Name, check_options, whole
from diffax.solvers.ends import positive_alpha
from diffax.solvers.keys import Keys
from diffax.solvers.multistep import (
    LinearSteps,
    MultistepState,
    advance,
    by_order,
    earlier,
    initial_state,
    interpolation_weights,
)


@noun
class LMS:
    """Variable-step Adams-Bashforth on `d(x / alpha) / dk = eps`, `k = sigma / alpha`.

        x' / alpha' = x / alpha + sum_j eps_j int_k^k' prod_(m != j) (u - k_m) / (k_j - k_m) du

    Katherine Crowson's sampler for EDM's ODE (Karras et al. 2022, eq. 1). The interpolating
    polynomial in k is integrated exactly. One network call a step.

    Attributes:
        order: number of answers used, 1 to 4; 1 is Euler.
    """

    description = Description(
        names=(
            Name(
                "lms",
                "linear multistep of order 4 in sigma (k-diffusion)",
                also=("LMSDiscreteScheduler",),
            ),
        ),
        paper="k-diffusion; variable-step Adams-Bashforth in sigma / alpha",
        order=lambda solver: solver.order,
        options={"order": whole("number of answers used", 1, 4)},
        needs_signal=True,
    )

    order: int = structure(default=4)

    def __post_init__(self) -> None:
        check_options(self)

    def init(self, x: Array, grid: Point) -> MultistepState:
        """The table of weights."""
        alpha = positive_alpha(grid)
        k = grid.sigma / alpha
        width = k[1:] - k[:-1]
        nodes = [jnp.zeros_like(width)]
        for back in range(1, self.order):
            nodes.append(nodes[-1] - earlier(width, back) / jnp.where(width == 0, 1.0, width))
        # int_0^1 u^n du
        moments = [jnp.full_like(width, 1.0 / (n + 1)) for n in range(self.order)]
        rows = [interpolation_weights(nodes[:q], moments[:q]) for q in range(1, self.order + 1)]
        orders = jnp.minimum(self.order, 1 + jnp.arange(width.shape[0]))
        weights = (grid.alpha[1:] * width)[:, None] * by_order(orders, rows)
        return initial_state(x, LinearSteps(grid.alpha[1:] / alpha[:-1], weights))

    def step(
        self,
        denoiser: Denoiser,
        x: Array,
        state: MultistepState,
        current: Point,
        next: Point,
        keys: Keys,
    ) -> tuple[Array, MultistepState]:
        """Extrapolate eps from the last answers and integrate."""
        return advance(state, x, denoiser(x, current).eps, keys)
