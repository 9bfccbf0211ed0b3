"""DPM-Solver-2 in EDM's variables: k-diffusion's "DPM2" and "DPM2 a"."""

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from diffax.denoiser import Denoiser
from diffax.noun import noun, number
from diffax.parameterization import Prediction
from diffax.schedules import Point, Schedule
from diffax.solvers.ddim import ETA, split_noise
from diffax.solvers.description import Description, Name, check_options, check_schedule, schedule_of
from diffax.solvers.keys import Keys, normal


@noun
class KDPM2:
    """Midpoint rule on `d(x / alpha) / dk = eps`, the midpoint taken in log k, `k = sigma / alpha`.

    DPM-Solver-2 (Lu et al. 2022a, algorithm 1) in EDM's variables (Karras et al. 2022, table 1):

        k_mid = sqrt(k k'),   u = x / alpha + (k_mid - k) eps(x, k)
        x' / alpha' = x / alpha + (k' - k) eps(u, k_mid)

    Second order; two network calls a step, one into the clean end: `2 S - 1`.

    Attributes:
        schedule: gives the time of the midpoint; needed when it steps.
    """

    description = Description(
        names=(
            Name(
                "kdpm2",
                "DPM-Solver-2 in EDM's variables ('DPM2')",
                also=("DPM2", "KDPM2DiscreteScheduler"),
            ),
        ),
        paper="Lu et al. 2022a, alg. 1, in EDM's variables",
        order=2,
        calls="2 S - 1",
        count=lambda solver, S: 2 * S - 1,
        needs_schedule=True,
        needs_signal=True,
    )

    schedule: Schedule | None = None

    def init(self, x: Array, grid: Point) -> None:
        """No state."""
        check_schedule(self)

    def step(
        self, denoiser: Denoiser, x: Array, state: None, current: Point, next: Point, keys: Keys
    ) -> tuple[Array, None]:
        """The slope in the middle carries the whole step."""
        guess = denoiser(x, current)
        moved = _midpoint_step(schedule_of(self), denoiser, x, guess, current, next)
        return moved.astype(x.dtype), None


@noun
class KDPM2Ancestral:
    """KDPM2 to a lower level `k_down`, then noise back up to the next one ("DPM2 a").

    The split of the next level is that of `EulerAncestral`. Two network calls a step, one into the
    clean end; stochastic.

    Attributes:
        schedule: gives the time of the midpoint; needed when it steps.
        eta: 0 is KDPM2, 1 the usual amount of noise; in [0, inf), as in `DDIM`; traced.
    """

    description = Description(
        names=(
            Name(
                "kdpm2_ancestral",
                "DPM2 down, fresh noise up ('DPM2 a')",
                also=("DPM2 a", "dpm_2_ancestral", "KDPM2AncestralDiscreteScheduler"),
            ),
        ),
        paper="k-diffusion; Lu et al. 2022a, alg. 1, down, and fresh noise up",
        order=lambda solver: 1 if solver.eta else 2,
        calls="2 S - 1",
        count=lambda solver, S: 2 * S - 1,
        stochastic="eta",
        options={"eta": ETA},
        needs_schedule=True,
        needs_signal=True,
    )

    schedule: Schedule | None = None
    eta: ArrayLike = number(default=1.0)

    def __post_init__(self) -> None:
        check_options(self)

    def init(self, x: Array, grid: Point) -> None:
        """No state."""
        check_schedule(self)

    def step(
        self, denoiser: Denoiser, x: Array, state: None, current: Point, next: Point, keys: Keys
    ) -> tuple[Array, None]:
        """Down to `k_down`, then up by fresh noise."""
        guess = denoiser(x, current)
        down, up = split_noise(current, next, self.eta)
        lower = Point(next.t, next.alpha, next.sigma * down)
        moved = _midpoint_step(schedule_of(self), denoiser, x, guess, current, lower)
        return (moved + next.sigma * up * normal(keys, x)).astype(x.dtype), None


def _midpoint_step(
    schedule: Schedule,
    denoiser: Denoiser,
    x: Array,
    guess: Prediction,
    current: Point,
    next: Point,
) -> Array:
    euler = guess.at(next)

    def through_middle() -> Array:
        # Mean of log k; the clean end never comes this way.
        product = current.sigma_ratio * next.sigma_ratio
        middle = schedule.at_logsnr(-jnp.log(product))
        slope = denoiser(guess.at(middle).astype(x.dtype), middle).eps
        # alpha' (k' - k)
        width = next.sigma - next.alpha * current.sigma / current.alpha
        return euler + width * (slope - guess.eps)

    return jax.lax.cond(next.sigma > 0, through_middle, lambda: euler)
