"""DDIM, from deterministic to ancestral (Song et al. 2021)."""

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from diffax.denoiser import Denoiser
from diffax.noun import noun, number
from diffax.schedules import Point
from diffax.schedules.point import root
from diffax.solvers.description import Description, Name, check_options, real
from diffax.solvers.ends import decay
from diffax.solvers.keys import Keys, normal

ETA = real("share of fresh noise in each step; 0 is deterministic, 1 as noisy as ddpm")


@noun
class DDIM:
    """DDIM's generalized step (Song et al. 2021, eq. 12 and 16). One network call a step.

        x_{t-1} = sqrt(abar_{t-1}) x0 + sqrt(1 - abar_{t-1} - std^2) eps + std z
        std     = eta sqrt((1 - abar_{t-1}) / (1 - abar_t)) sqrt(1 - abar_t / abar_{t-1})

    with the network's guesses x0 and eps and fresh noise z. `alpha = sqrt(abar)` and
    `sigma = sqrt(1 - abar)` make it a step between any two points of any schedule.

    Attributes:
        eta: 0 is deterministic and first order, 1 is DDPM with its small variance; in [0, inf),
            where no more noise is added than the next level has; traced.

    Example:
        >>> DDIM(eta=0.5)
        DDIM(eta=0.5)
    """

    description = Description(
        names=(
            Name(
                "ddim",
                "deterministic (eta 0) to ancestral (eta 1) (Song et al. 2021)",
                also=("DDIMScheduler",),
            ),
        ),
        paper="Song et al. 2021, eq. 12, 16",
        stochastic="eta",
        options={"eta": ETA},
    )

    eta: ArrayLike = number(default=0.0)

    def __post_init__(self) -> None:
        check_options(self)

    def init(self, x: Array, grid: Point) -> None:
        """No state."""

    def step(
        self, denoiser: Denoiser, x: Array, state: None, current: Point, next: Point, keys: Keys
    ) -> tuple[Array, None]:
        """Jump to the guessed x0, then back to `next` along the guessed noise and fresh noise."""
        guess = denoiser(x, current)
        down, up = split_noise(current, next, self.eta)
        mean = next.alpha * guess.x0 + next.sigma * down * guess.eps
        std = next.sigma * up
        return (mean + std * normal(keys, x)).astype(x.dtype), None


@noun
class EulerAncestral(DDIM):
    """Euler to a lower level, then noise back up to the next (k-diffusion's "Euler a").

    Its split of the next level `k'`, with `k = sigma / alpha`,

        k_up^2 = eta^2 k'^2 (k^2 - k'^2) / k^2,    k_down^2 = k'^2 - k_up^2,

    makes it the same map as DDIM's eq. 12 with the same eta, DDPM with its small variance at eta 1;
    so it is written once. One network call a step.

    Attributes:
        eta: 0 is Euler, 1 ancestral; in [0, inf), as in `DDIM`; traced.
    """

    description = Description(
        names=(
            Name(
                "euler_ancestral",
                "Euler down, fresh noise up ('Euler a'); DDIM with eta 1",
                also=("Euler a", "EulerAncestralDiscreteScheduler"),
            ),
        ),
        paper="k-diffusion; the same map as DDIM with the same eta",
        stochastic="eta",
        options={"eta": ETA},
    )

    eta: ArrayLike = number(default=1.0)

    def __post_init__(self) -> None:
        check_options(self)


def split_noise(current: Point, next: Point, eta: ArrayLike) -> tuple[Array, Array]:
    """How `sigma'` is made of guessed and of fresh noise: `(down, up)`, `down^2 + up^2 = 1`.

    `up = eta sqrt(1 - e^(-2 h))`, `e^-h = (alpha / alpha') (sigma' / sigma)`, at most 1. Slopes in
    eta are zero where `down` or `up` is (they are infinite there).
    """
    kept = decay(current, next)
    up = jnp.minimum(1.0, eta * root((1 - kept) * (1 + kept)))
    # 1 - up^2, without cancellation at eta 1.
    down = root((kept * eta) ** 2 + (1 - eta) * (1 + eta))
    return down, up
