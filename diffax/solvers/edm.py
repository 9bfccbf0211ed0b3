"""EDM's sampler: churn, Euler, Heun (Karras et al. 2022, algorithm 2).

The paper steps from the noise level `t` to `t'`, with `t = sigma / alpha` (`sigma_ratio`) and with
`x` for what is `x / alpha` on other schedules. N is the number of steps.

    gamma = min(S_churn / N, sqrt(2) - 1) where S_tmin <= t <= S_tmax, else 0
    t_hat = t + gamma t                                                           (line 5)
    x_hat = x + sqrt(t_hat^2 - t^2) S_noise z,  z ~ N(0, I)                       (lines 4, 6)
    d     = (x_hat - D(x_hat; t_hat)) / t_hat                                     (line 7)
    x'    = x_hat + (t' - t_hat) d                                                (line 8: Euler)
    d'    = (x' - D(x'; t')) / t',  where t' > 0                                  (line 10)
    x'    = x_hat + (t' - t_hat) (d + d') / 2                                     (line 11: Heun)

As `x_hat = D + t_hat d`, the slope d is the guessed noise eps, and line 8 is `D + t' d`: the guess
put back on the path at `t'`.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from diffax.denoiser import Denoiser
from diffax.noun import noun, number, structure
from diffax.schedules import Point, Schedule
from diffax.schedules.point import root
from diffax.solvers.description import (
    Description,
    Name,
    check_options,
    check_schedule,
    choice,
    real,
)
from diffax.solvers.keys import Keys, normal

_CHURN_OPTIONS = {
    "churn": real("EDM's S_churn: noise added over the run, spread over its steps"),
    "churn_min": real("EDM's S_tmin: smallest sigma / alpha at which noise is added", ends="[]"),
    "churn_max": real("EDM's S_tmax: largest sigma / alpha at which noise is added", ends="[]"),
    "churn_noise": real("EDM's S_noise: scale of the added noise, 1.003 to 1.007 in the paper"),
}


@noun
class _Churn:
    """Noise that is added before each step (lines 4-6), and its options."""

    schedule: Schedule | None = None
    churn: ArrayLike = number(default=0.0)
    churn_min: ArrayLike = number(default=0.0)
    churn_max: ArrayLike = number(default=float("inf"))
    churn_noise: ArrayLike = number(default=1.0)

    def init(self, x: Array, grid: Point) -> int:
        """N, the number of steps, over which the churn is spread."""
        check_schedule(self)
        return grid.t.shape[0] - 1

    def _raised(self, x: Array, current: Point, N: int, keys: Keys) -> tuple[Array, Point]:
        """`x_hat` and the point at `t_hat`; exactly `x` and `current` where gamma is zero."""
        if self.schedule is None:
            # A churn that is a number of the program cannot be refused: it is not forgotten either.
            return jnp.where(self.churn == 0, x, jnp.nan), current
        t = current.sigma_ratio
        active = (t >= self.churn_min) & (t <= self.churn_max)
        gamma = jnp.where(active, jnp.minimum(self.churn / N, 2**0.5 - 1), 0.0).astype(t.dtype)

        def up() -> tuple[Array, Point]:
            hat = self.schedule.at_logsnr(-2 * jnp.log(t + gamma * t))
            # sqrt(t_hat^2 - t^2)
            std = t * root(gamma * (2 + gamma)) * self.churn_noise
            x_hat = hat.alpha * (x / current.alpha + std * normal(keys, x))
            same_types = jax.tree.map(lambda h, c: h.astype(c.dtype), hat, current)
            return x_hat.astype(x.dtype), same_types

        return jax.lax.cond(gamma > 0, up, lambda: (x, current))


def _has_churn(solver: _Churn) -> bool:
    """Whether the churn is known and not zero."""
    known = not isinstance(solver.churn, jax.core.Tracer)
    return known and bool(np.any(np.asarray(solver.churn) != 0))


@noun
class Euler(_Churn):
    """Euler on `dx / dt = (x - D(x; t)) / t` (Karras et al. 2022, eq. 1; algorithm 2, lines 4-8).

    Algebraically DDIM with eta 0, and on the straight path the Euler step of flow matching (Lipman
    et al. 2023). With churn, noise is added first and the network is asked at the raised level. One
    network call a step.

    Attributes:
        schedule: gives the point at a raised noise level; needed for churn only.
        churn: `S_churn`, total amount of noise added over the run, >= 0; traced. Without a schedule
            it is refused, or, inside compiled programs, gives NaN.
        churn_min: `S_tmin`, smallest sigma / alpha at which noise is added.
        churn_max: `S_tmax`, largest.
        churn_noise: `S_noise`, scale of the added noise, about 1.003 to 1.007.
    """

    description = Description(
        names=(
            Name(
                "euler",
                "Euler on the probability-flow ODE, with churn if asked",
                also=(
                    "EulerDiscreteScheduler",
                    "EDMEulerScheduler",
                ),
            ),
            Name(
                "flow_euler",
                "Euler along the straight path of flow matching",
                also=("FlowMatchEulerDiscreteScheduler",),
            ),
        ),
        paper="Karras et al. 2022, alg. 2 without its second half; Lipman et al. 2023",
        stochastic="churn",
        options=_CHURN_OPTIONS,
        needs_schedule=_has_churn,
    )

    def __post_init__(self) -> None:
        check_options(self)

    def step(
        self, denoiser: Denoiser, x: Array, state: int, current: Point, next: Point, keys: Keys
    ) -> tuple[Array, int]:
        """Up by the churn, then along the slope to `next`."""
        x_hat, t_hat = self._raised(x, current, state, keys)
        return denoiser(x_hat, t_hat).at(next).astype(x.dtype), state


@noun
class Heun(_Churn):
    """EDM's sampler (Karras et al. 2022, algorithm 2): second order, two network calls a step.

    The step into the clean end is Euler's, one call: `2 S - 1` calls in all.

    Attributes:
        schedule: gives the point at a raised noise level; needed for churn only.
        churn: `S_churn`, total amount of noise added over the run, >= 0; traced. 0 is the ODE.
            Without a schedule it is refused, or, inside compiled programs, gives NaN.
        churn_min: `S_tmin`, smallest sigma / alpha at which noise is added.
        churn_max: `S_tmax`, largest.
        churn_noise: `S_noise`, scale of the added noise.
        space: the variable that is stepped: `scaled`, `x / alpha` in sigma / alpha (EDM), or
            `straight`, x itself, averaging the velocity `eps - x0` over the straight path (flow
            matching; Esser et al. 2024).
    """

    description = Description(
        names=(
            Name(
                "heun",
                "EDM's second-order sampler, with churn if asked",
                also=("HeunDiscreteScheduler",),
            ),
            Name(
                "flow_heun",
                "Heun along the straight path of flow matching",
                {"space": "straight"},
                also=("FlowMatchHeunDiscreteScheduler",),
            ),
        ),
        paper="Karras et al. 2022, alg. 2; straight: Esser et al. 2024",
        order=2,
        calls="2 S - 1",
        count=lambda solver, S: 2 * S - 1,
        stochastic="churn",
        options={
            **_CHURN_OPTIONS,
            "space": choice("the variable that is stepped", "scaled", "straight"),
        },
        needs_schedule=_has_churn,
        needs_signal=lambda solver: solver.space == "scaled",
    )

    space: str = structure(default="scaled")

    def __post_init__(self) -> None:
        check_options(self)

    def step(
        self, denoiser: Denoiser, x: Array, state: int, current: Point, next: Point, keys: Keys
    ) -> tuple[Array, int]:
        """Up by the churn, Euler, then again with the mean of the slopes at both ends."""
        x_hat, t_hat = self._raised(x, current, state, keys)
        first = denoiser(x_hat, t_hat)
        euler = first.at(next)

        def heun() -> Array:
            second = denoiser(euler.astype(x.dtype), next)
            d, d_prime = first.eps, second.eps
            if self.space == "straight":
                # x + int x0 d alpha + int eps d sigma, both by the trapezoid rule.
                turn = (next.alpha - t_hat.alpha) * (second.x0 - first.x0)
                return euler + 0.5 * (turn + (next.sigma - t_hat.sigma) * (d_prime - d))
            # alpha' (t' - t_hat)
            width = next.sigma - next.alpha * t_hat.sigma / t_hat.alpha
            return euler + 0.5 * width * (d_prime - d)

        moved = jax.lax.cond(next.sigma > 0, heun, lambda: euler)
        return moved.astype(x.dtype), state
