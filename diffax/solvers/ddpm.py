"""Ancestral sampling (Ho et al. 2020, algorithm 2)."""

import jax.numpy as jnp
from jax import Array

from diffax import gaussian
from diffax.denoiser import Denoiser
from diffax.noun import noun, structure
from diffax.schedules import Point
from diffax.solvers.keys import normal


@noun
class DDPM:
    """The ancestral sampler, on any grid. One network call a step, stochastic.

    Attributes:
        variance: the reverse step's: `fixed_small` (beta tilde, right for a point mass),
            `fixed_large` (beta, right for standard normal data), `learned` (the network gives
            the log-variance), `learned_range` (it gives the place between the two, Nichol &
            Dhariwal 2021, eq. 15), or `given`.
        given: with `variance="given"`, the variance of every step, `[S]`.
    """

    variance: str = structure("fixed_small")
    given: Array | None = None

    def __post_init__(self):
        if self.variance not in (*gaussian.REVERSE_VARIANCES, "given"):
            raise ValueError(
                f"variance should be one of {', '.join(gaussian.REVERSE_VARIANCES)}, given; "
                f"got {self.variance!r}"
            )
        if (self.variance == "given") != (self.given is not None):
            raise ValueError("variance='given' and an array `given` [S] go together")

    def init(self, x: Array, grid: Point) -> Array:
        """Number of the step."""
        steps = grid.t.shape[0] - 1
        if self.given is not None and jnp.shape(self.given) != (steps,):
            raise ValueError(
                f"expected a variance for each of the {steps} steps, got {jnp.shape(self.given)}"
            )
        return jnp.zeros((), jnp.int32)

    def step(
        self, denoiser: Denoiser, x: Array, state: Array, here: Point, there: Point, keys: Array
    ) -> tuple[Array, Array]:
        """Draw from `p(x_there | x_here)`; the step into the clean end adds no noise."""
        guess = denoiser(x, here)
        mean, small = gaussian.posterior(x, guess.x0, here, there)
        if self.variance == "given":
            variance = self.given[state]
        else:
            large = gaussian.interval(here, there)[1]
            variance = gaussian.reverse_variance(small, large, self.variance, guess.log_variance)
        spread = jnp.where(there.sigma > 0, jnp.sqrt(variance), 0.0)
        return (mean + spread * normal(keys, x)).astype(x.dtype), state + 1
