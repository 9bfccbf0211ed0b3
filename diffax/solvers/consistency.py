"""Few-step samplers for distilled models: latent and trajectory consistency."""

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from diffax import gaussian
from diffax.denoiser import Denoiser
from diffax.noun import noun, number
from diffax.schedules import Point, Schedule
from diffax.solvers.keys import normal


@noun
class LCM:
    """Multistep latent-consistency sampling (Luo et al. 2023, algorithm 3). One call a step.

    The consistency function `c_skip x + c_out x0` jumps to the data, fresh noise goes back to the
    next level. For models distilled for it; meaningless for others.

    Attributes:
        sigma_data: of the boundary scalings (Song et al. 2023, appendix C).
        time_scaling: factor on t in them; 10 in the released models.
    """

    sigma_data: ArrayLike = number(0.5)
    time_scaling: ArrayLike = number(10.0)

    def init(self, x: Array, grid: Point) -> None:
        """No state."""

    def step(
        self, denoiser: Denoiser, x: Array, state: None, here: Point, there: Point, keys: Array
    ) -> tuple[Array, None]:
        """Jump to the data, then noise to `there`."""
        scaled = here.t * self.time_scaling
        c_skip = self.sigma_data**2 / (scaled**2 + self.sigma_data**2)
        c_out = scaled * jax.lax.rsqrt(scaled**2 + self.sigma_data**2)
        clean = c_out * denoiser(x, here).x0 + c_skip * x
        return gaussian.q_sample(clean, normal(keys, x), there).astype(x.dtype), None


@noun
class TCD:
    """Strategic stochastic sampling of trajectory-consistency models (Zheng et al. 2024, alg. 4).

    Jump along the trajectory to `s = floor((1 - gamma) t')`, below the next time t', then noise up
    to t'. One network call a step. For models distilled for it.

    Attributes:
        schedule: gives the point at s; discrete.
        eta: the paper's gamma: 0 is deterministic, 1 jumps to time 0 each time; traced.
    """

    schedule: Schedule
    eta: ArrayLike = number(0.3)

    def init(self, x: Array, grid: Point) -> None:
        """No state."""

    def step(
        self, denoiser: Denoiser, x: Array, state: None, here: Point, there: Point, keys: Array
    ) -> tuple[Array, None]:
        """Jump to s, then noise to `there`."""
        guess = denoiser(x, here)
        below = self.schedule.at(jnp.floor((1 - self.eta) * jnp.maximum(there.t, 0.0)))
        # The last step goes all the way: to the grid's own end.
        last = there.t <= 0
        below = jax.tree.map(lambda b, e: jnp.where(last, e, b), below, there)
        jumped = below.alpha * guess.x0 + below.sigma * guess.eps
        scale, variance = gaussian.interval(there, below)
        spread = jnp.where(last, 0.0, jnp.sqrt(jnp.maximum(variance, 0.0)))
        return (scale * jumped + spread * normal(keys, x)).astype(x.dtype), None
