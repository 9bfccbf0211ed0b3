"""The probability-flow ODE with adaptive steps, by diffrax."""

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from diffax.denoiser import Denoiser
from diffax.noun import noun, number, structure
from diffax.schedules import Point, Schedule


@noun
class RK45:
    """Adaptive Runge-Kutta on the probability-flow ODE (Song et al. 2021, sec. 4.3, app. D.4).

    Solves `d(x / alpha) / dk = eps`, `k = sigma / alpha`, in log k, by diffrax's Dormand-Prince
    5(4). Between two grid points it takes as many steps as the tolerances ask for, so two or three
    points are enough; the step into the clean end is the guess of x0. All samples share their
    steps. Needs `diffrax`.

    Attributes:
        schedule: gives the times between grid points.
        rtol: relative tolerance; traced.
        atol: absolute tolerance; traced.
        max_steps: give up (with NaN) after so many between two grid points.
    """

    schedule: Schedule
    rtol: ArrayLike = number(1e-5)
    atol: ArrayLike = number(1e-5)
    max_steps: int = structure(4096)

    def init(self, x: Array, grid: Point) -> Array:
        """Number of steps tried so far; six network calls each."""
        return jnp.zeros((), jnp.int32)

    def step(
        self, denoiser: Denoiser, x: Array, state: Array, here: Point, there: Point, keys: Array
    ) -> tuple[Array, Array]:
        """Integrate from `here` to `there`."""

        def integrate(_) -> tuple[Array, Array]:
            scaled, tried = self._integrate(denoiser, x / here.alpha, here, there)
            return (there.alpha * scaled).astype(x.dtype), tried

        def jump(_) -> tuple[Array, Array]:
            guess = denoiser(x, here)
            clean = there.alpha * guess.x0 + there.sigma * guess.eps
            return clean.astype(x.dtype), jnp.zeros((), jnp.int32)

        x, tried = jax.lax.cond(there.sigma > 0, integrate, jump, None)
        return x, state + tried

    def _integrate(
        self, denoiser: Denoiser, scaled: Array, here: Point, there: Point
    ) -> tuple[Array, Array]:
        try:
            import diffrax
        except ImportError as error:
            raise ImportError(
                "the RK45 sampler needs diffrax: pip install diffrax, or use dpmpp_3m or unipc"
            ) from error

        def slope(u: Array, y: Array, _) -> Array:
            at = self.schedule.at_logsnr(-2 * u)
            return jnp.exp(u) * denoiser((at.alpha * y).astype(scaled.dtype), at).eps

        start = jnp.log(here.sigma_ratio)
        # The clean end gets here only to be thrown away.
        end = jnp.log(jnp.maximum(there.sigma_ratio, jnp.finfo(start.dtype).tiny))
        end = jnp.where(there.sigma > 0, end, start - 1)
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(slope),
            diffrax.Dopri5(),
            t0=start,
            t1=end,
            dt0=None,
            y0=scaled,
            stepsize_controller=diffrax.PIDController(rtol=self.rtol, atol=self.atol),
            adjoint=diffrax.RecursiveCheckpointAdjoint(),
            max_steps=self.max_steps,
            throw=False,
        )
        ok = solution.result == diffrax.RESULTS.successful
        final = jnp.where(ok, solution.ys[-1], jnp.nan)
        return final, solution.stats["num_steps"].astype(jnp.int32)
