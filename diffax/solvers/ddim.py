"""DDIM, from deterministic to ancestral (Song et al. 2021)."""

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from diffax import gaussian
from diffax.denoiser import Denoiser
from diffax.noun import noun, number
from diffax.schedules import Point
from diffax.solvers.keys import normal


@noun
class DDIM:
    """DDIM's generalized step (Song et al. 2021, eq. 12 and 16). One network call a step.

    Attributes:
        eta: 0 is deterministic and first order, 1 is DDPM with its small variance; traced.
    """

    eta: ArrayLike = number(0.0)

    def init(self, x: Array, grid: Point) -> None:
        """No state."""

    def step(
        self, denoiser: Denoiser, x: Array, state: None, here: Point, there: Point, keys: Array
    ) -> tuple[Array, None]:
        """Jump to the guessed x0, then back to `there` along the guessed noise and fresh noise."""
        guess = denoiser(x, here)
        posterior_variance = there.sigma**2 * gaussian.added_noise_share(here, there)
        spread = self.eta * jnp.sqrt(posterior_variance)
        # With eta above 1 rounding, or the user, may ask for more noise than there is.
        direction = jnp.sqrt(jnp.maximum(there.sigma**2 - spread**2, 0.0))
        mean = there.alpha * guess.x0 + direction * guess.eps
        # eta is a number of the program, so that it may change; where it is 0 nothing is drawn.
        noise = jax.lax.cond(self.eta > 0, lambda: normal(keys, x), lambda: jnp.zeros_like(x))
        return (mean + spread * noise).astype(x.dtype), None
