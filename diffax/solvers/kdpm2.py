"""DPM-Solver-2 in EDM's variables: k-diffusion's "DPM2" and "DPM2 a"."""

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from diffax.denoiser import Denoiser
from diffax.noun import noun, number
from diffax.schedules import Point, Schedule
from diffax.solvers.keys import normal


@noun
class KDPM2:
    """Midpoint rule on `d(x / alpha) / dk = eps`, the midpoint taken in log k.

    DPM-Solver-2 (Lu et al. 2022a, algorithm 1) in EDM's variables (Karras et al. 2022, table 1),
    `k = sigma / alpha`. Second order; two network calls a step, one into the clean end: `2 S - 1`.

    Attributes:
        schedule: gives the time of the midpoint.
    """

    schedule: Schedule

    def init(self, x: Array, grid: Point) -> None:
        """No state."""

    def step(
        self, denoiser: Denoiser, x: Array, state: None, here: Point, there: Point, keys: Array
    ) -> tuple[Array, None]:
        """The slope in the middle carries the whole step."""
        guess = denoiser(x, here)
        moved = _midpoint_step(self.schedule, denoiser, x, guess, here, there)
        return moved.astype(x.dtype), None


@noun
class KDPM2Ancestral:
    """KDPM2 to a lower level `k_down`, then noise back up to the next one ("DPM2 a").

    Two network calls a step, one into the clean end; stochastic.

    Attributes:
        schedule: gives the time of the midpoint.
        eta: 0 is KDPM2, 1 the usual amount of noise; traced.
    """

    schedule: Schedule
    eta: ArrayLike = number(1.0)

    def init(self, x: Array, grid: Point) -> None:
        """No state."""

    def step(
        self, denoiser: Denoiser, x: Array, state: None, here: Point, there: Point, keys: Array
    ) -> tuple[Array, None]:
        """Down to `k_down`, then up by fresh noise."""
        guess = denoiser(x, here)
        k, k_next = here.sigma_ratio, there.sigma_ratio
        ratio = k_next / k
        up = jnp.minimum(k_next, self.eta * k_next * jnp.sqrt((1 - ratio) * (1 + ratio)))
        down = jnp.sqrt(jnp.maximum((k_next - up) * (k_next + up), 0.0))
        lower = Point(there.t, there.alpha, there.alpha * down)
        moved = _midpoint_step(self.schedule, denoiser, x, guess, here, lower)
        return (moved + there.alpha * up * normal(keys, x)).astype(x.dtype), None


def _midpoint_step(
    schedule: Schedule, denoiser: Denoiser, x: Array, guess, here: Point, there: Point
) -> Array:
    euler = there.alpha * guess.x0 + there.sigma * guess.eps

    def through_middle(_):
        # Mean of log k; the clean end never gets here.
        product = here.sigma_ratio * there.sigma_ratio
        middle = schedule.at_logsnr(-jnp.log(product))
        halfway = middle.alpha * guess.x0 + middle.sigma * guess.eps
        slope = denoiser(halfway.astype(x.dtype), middle).eps
        width = there.sigma - there.alpha * here.sigma / here.alpha
        return euler + width * (slope - guess.eps)

    return jax.lax.cond(there.sigma > 0, through_middle, lambda _: euler, None)
