"""The probability-flow ODE with adaptive steps, by diffrax."""

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from diffax.denoiser import Denoiser
from diffax.noun import noun, number, structure
from diffax.schedules import Point, Schedule
from diffax.solvers.description import (
    Description,
    Name,
    check_options,
    check_schedule,
    real,
    schedule_of,
    whole,
)
from diffax.solvers.keys import Keys


@noun
class RK45:
    """Adaptive Runge-Kutta on the probability-flow ODE (Song et al. 2021, sec. 4.3, app. D.4).

    Solves `d(x / alpha) / dk = eps`, `k = sigma / alpha`, in log k, by diffrax's Dormand-Prince
    5(4). Between two grid points it takes as many steps as the tolerances ask for, so two or three
    points are enough; the step into the clean end is the guess of x0. All samples share their
    steps. Needs `diffrax`.

    Attributes:
        schedule: gives the times between grid points; needed when it steps.
        rtol: relative tolerance, > 0; traced.
        atol: absolute tolerance, > 0; traced.
        max_steps: give up (with NaN) after so many between two grid points; at least 1.
    """

    description = Description(
        names=(Name("rk45", "probability-flow ODE with adaptive steps (diffrax)"),),
        paper="Song et al. 2021, app. D.4, by diffrax's Dormand-Prince",
        order=5,
        calls="6 a try",
        count=None,
        options={
            "rtol": real("relative tolerance of adaptive steps", ends="()"),
            "atol": real("absolute tolerance of adaptive steps", ends="()"),
            "max_steps": whole("most adaptive steps between two grid points", 1),
        },
        needs_schedule=True,
        needs_signal=True,
    )

    schedule: Schedule | None = None
    rtol: ArrayLike = number(default=1e-5)
    atol: ArrayLike = number(default=1e-5)
    max_steps: int = structure(default=4096)

    def __post_init__(self) -> None:
        check_options(self)

    def init(self, x: Array, grid: Point) -> Array:
        """Number of steps tried so far; six network calls each."""
        check_schedule(self)
        return jnp.zeros((), jnp.int32)

    def step(
        self, denoiser: Denoiser, x: Array, state: Array, current: Point, next: Point, keys: Keys
    ) -> tuple[Array, Array]:
        """Integrate from `current` to `next`."""

        def integrate(_: None) -> tuple[Array, Array]:
            scaled, tried = self._integrate(denoiser, x / current.alpha, current, next)
            return (next.alpha * scaled).astype(x.dtype), tried

        def jump(_: None) -> tuple[Array, Array]:
            clean = denoiser(x, current).at(next)
            return clean.astype(x.dtype), jnp.zeros((), jnp.int32)

        x, tried = jax.lax.cond(next.sigma > 0, integrate, jump, None)
        return x, state + tried

    def _integrate(
        self, denoiser: Denoiser, scaled: Array, current: Point, next: Point
    ) -> tuple[Array, Array]:
        def slope(u: Array, y: Array) -> Array:
            at = schedule_of(self).at_logsnr(-2 * u)
            return jnp.exp(u) * denoiser((at.alpha * y).astype(scaled.dtype), at).eps

        start = jnp.log(current.sigma_ratio)
        # The clean end comes this way only to be thrown away.
        end = jnp.log(jnp.maximum(next.sigma_ratio, jnp.finfo(start.dtype).tiny))
        end = jnp.where(next.sigma > 0, end, start - 1)
        return integrate(slope, scaled, start, end, self.rtol, self.atol, self.max_steps)


_State = TypeVar("_State")


def integrate(
    slope: Callable[[Array, _State], _State],
    state: _State,
    start: ArrayLike,
    end: ArrayLike,
    rtol: ArrayLike,
    atol: ArrayLike,
    max_steps: int,
) -> tuple[_State, Array]:
    """Solves `d state / du = slope(u, state)` by diffrax's Dormand-Prince 5(4).

    Args:
        slope: the right-hand side; state and slope are trees of arrays.
        state: at `start`.
        start: the first u.
        end: the last u.
        rtol: relative tolerance.
        atol: absolute tolerance.
        max_steps: give up (with NaN) after so many.

    Returns:
        The state at `end`, and how many steps were tried, six calls of `slope` each.

    Raises:
        ImportError: diffrax is not installed.
    """
    try:
        import diffrax
    except ImportError as error:
        raise ImportError(
            "adaptive steps need diffrax: pip install diffrax, or use fixed ones (dpmpp_3m, unipc)"
        ) from error
    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(lambda u, y, _: slope(u, y)),
        diffrax.Dopri5(),
        t0=start,
        t1=end,
        dt0=None,
        y0=state,
        stepsize_controller=diffrax.PIDController(rtol=rtol, atol=atol),
        adjoint=diffrax.RecursiveCheckpointAdjoint(),
        max_steps=max_steps,
        throw=False,
    )
    ok = solution.result == diffrax.RESULTS.successful
    final = jax.tree.map(lambda leaf: jnp.where(ok, leaf[-1], jnp.nan), solution.ys)
    return final, solution.stats["num_steps"].astype(jnp.int32)
