"""Ancestral sampling (Ho et al. 2020, algorithm 2)."""

import jax.numpy as jnp
from jax import Array

from diffax import gaussian
from diffax.denoiser import Denoiser
from diffax.noun import noun, structure
from diffax.schedules import Point
from diffax.schedules.point import root
from diffax.solvers.description import Description, Name, check_options, choice, flag
from diffax.solvers.keys import Keys, normal


@noun
class DDPM:
    """The ancestral sampler, on any grid (Ho et al. 2020, alg. 2). One network call a step.

        x_{t-1} = mu + std z,    z ~ N(0, I), 0 in the last step
        mu      = sqrt(abar_{t-1}) beta_t / (1 - abar_t) x0
                  + sqrt(alpha_t) (1 - abar_{t-1}) / (1 - abar_t) x_t         (eq. 7)
        std^2   = (1 - abar_{t-1}) / (1 - abar_t) beta_t  or  beta_t          (sec. 3.2)

    with the network's guess of x0; `beta_t` and `alpha_t = 1 - beta_t` are those of the step
    between the two points, however far apart they are (`gaussian.posterior`).

    Attributes:
        variance: the reverse step's: `fixed_small` (beta tilde, right for a point mass),
            `fixed_large` (beta, right for standard normal data), `learned` (the network gives
            the log-variance), `learned_range` (it gives the place between the two, Nichol &
            Dhariwal 2021, eq. 15), or `given`.
        given: with `variance="given"`, the variance of every step, `[S]`.
        last_noise: noise in the step into the clean end, too, as some tutorials have it.
    """

    description = Description(
        names=(
            Name(
                "ddpm",
                "ancestral sampling (Ho et al. 2020), for many steps",
                also=("DDPMScheduler",),
            ),
        ),
        paper="Ho et al. 2020, alg. 2; learned variance: Nichol & Dhariwal 2021, eq. 15",
        stochastic=True,
        options={
            "variance": choice("the reverse step's variance", *gaussian.REVERSE_VARIANCES, "given"),
            "last_noise": flag("noise in the last step, too"),
        },
    )

    variance: str = structure(default="fixed_small")
    given: Array | None = None
    last_noise: bool = structure(default=False)

    def __post_init__(self) -> None:
        check_options(self)
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
        self, denoiser: Denoiser, x: Array, state: Array, current: Point, next: Point, keys: Keys
    ) -> tuple[Array, Array]:
        """Draw from `p(x' | x)`; the step into the clean end adds no noise, unless asked to."""
        guess = denoiser(x, current)
        mean, small = gaussian.posterior(x, guess.x0, current, next)
        if self.given is not None:
            variance = self.given[state]
        else:
            large = gaussian.interval(current, next)[1]
            variance = gaussian.reverse_variance(small, large, self.variance, guess.log_variance)
        std = root(variance)
        if not self.last_noise:
            std = jnp.where(next.sigma > 0, std, 0.0)
        return (mean + std * normal(keys, x)).astype(x.dtype), state + 1
