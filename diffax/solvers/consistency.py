"""Few-step samplers for distilled models: consistency, latent and trajectory consistency."""

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from diffax import gaussian
from diffax.denoiser import Denoiser
from diffax.noun import noun, number
from diffax.schedules import Point, Schedule
from diffax.schedules.point import root
from diffax.solvers.ddim import ETA
from diffax.solvers.description import (
    Description,
    Name,
    check_options,
    check_schedule,
    real,
    schedule_of,
)
from diffax.solvers.keys import Keys, normal


@noun
class Consistency:
    """Multistep consistency sampling (Song et al. 2023, algorithm 1). One call a step.

        x' = alpha' f(x, t) + sigma' z,    f(x, t) the network's x0

    The consistency function jumps to the data, fresh noise z goes back to the next level. Its
    boundary condition, f = x at the clean end, is that of the parameterization: eps, v, velocity,
    flow and EDM have it.
    """

    description = Description(
        names=(
            Name(
                "consistency",
                "for consistency models, 1-4 steps (Song et al. 2023)",
                also=("CMStochasticIterativeScheduler",),
            ),
        ),
        paper="Song et al. 2023, alg. 1",
        order=0,
        stochastic=True,
    )

    def init(self, x: Array, grid: Point) -> None:
        """No state."""

    def step(
        self, denoiser: Denoiser, x: Array, state: None, current: Point, next: Point, keys: Keys
    ) -> tuple[Array, None]:
        """Jump to the data, then noise to `next`."""
        clean = denoiser(x, current).x0
        return gaussian.q_sample(clean, normal(keys, x), next).astype(x.dtype), None


@noun
class LCM:
    """Multistep latent-consistency sampling (Luo et al. 2023, algorithm 3). One call a step.

        f(x, t) = c_skip(t) x + c_out(t) x0(x, t),    x' = alpha' f(x, t) + sigma' z
        c_skip  = sigma_data^2 / (s^2 + sigma_data^2),    c_out = s / sqrt(s^2 + sigma_data^2)

    with `s = time_scaling t`: the consistency function jumps to the data, fresh noise z goes back
    to the next level. For models distilled for it; meaningless for others.

    Attributes:
        sigma_data: of the boundary scalings, >= 0 (Song et al. 2023, appendix C); 0 takes the
            network's x0 as it is, at every time but 0.
        time_scaling: factor on t in them, > 0; 10 in the released models.
    """

    description = Description(
        names=(
            Name(
                "lcm",
                "for latent-consistency models, 1-8 steps (Luo et al. 2023)",
                also=("LCMScheduler",),
            ),
        ),
        paper="Luo et al. 2023, alg. 3",
        order=0,
        stochastic=True,
        options={
            "sigma_data": real("the consistency model's std of the data"),
            "time_scaling": real("the consistency model's factor on t", ends="()"),
        },
        needs_table=True,
    )

    sigma_data: ArrayLike = number(default=0.5)
    time_scaling: ArrayLike = number(default=10.0)

    def __post_init__(self) -> None:
        check_options(self)

    def init(self, x: Array, grid: Point) -> None:
        """No state."""

    def step(
        self, denoiser: Denoiser, x: Array, state: None, current: Point, next: Point, keys: Keys
    ) -> tuple[Array, None]:
        """Jump to the data, then noise to `next`."""
        s = current.t * self.time_scaling
        c_skip = self.sigma_data**2 / (s**2 + self.sigma_data**2)
        c_out = s * jax.lax.rsqrt(s**2 + self.sigma_data**2)
        clean = c_out * denoiser(x, current).x0 + c_skip * x
        return gaussian.q_sample(clean, normal(keys, x), next).astype(x.dtype), None


@noun
class TCD:
    """Strategic stochastic sampling of trajectory-consistency models (Zheng et al. 2024, alg. 4).

    Jump along the trajectory to `s = floor((1 - gamma) t')`, below the next time t', then noise up
    to t'. One network call a step. For models distilled for it.

    Attributes:
        schedule: gives the point at s; discrete; needed when it steps.
        eta: the paper's gamma, in [0, 1]: 0 is deterministic, 1 jumps to time 0 each time; traced.
    """

    description = Description(
        names=(
            Name(
                "tcd",
                "for trajectory-consistency models, 1-8 steps (Zheng et al.)",
                also=("TCDScheduler",),
            ),
        ),
        paper="Zheng et al. 2024, alg. 4",
        order=0,
        stochastic="eta",
        options={"eta": real(ETA.help, 0, 1, "[]")},
        needs_schedule=True,
        needs_table=True,
    )

    schedule: Schedule | None = None
    eta: ArrayLike = number(default=0.3)

    def __post_init__(self) -> None:
        check_options(self)

    def init(self, x: Array, grid: Point) -> None:
        """No state."""
        check_schedule(self)

    def step(
        self, denoiser: Denoiser, x: Array, state: None, current: Point, next: Point, keys: Keys
    ) -> tuple[Array, None]:
        """Jump to s, then noise to `next`."""
        below = schedule_of(self).at(jnp.floor((1 - self.eta) * jnp.maximum(next.t, 0.0)))
        # The last step goes all the way: to the grid's own end.
        last = next.t <= 0
        below = jax.tree.map(lambda b, n: jnp.where(last, n, b), below, next)
        jumped = denoiser(x, current).at(below)
        # `current` stands in where there is no way up.
        above = jax.tree.map(lambda n, c: jnp.where(last, c, n), next, current)
        scale, variance = gaussian.interval(above, below)
        scale, std = jnp.where(last, 1.0, scale), jnp.where(last, 0.0, root(variance))
        return (scale * jumped + std * normal(keys, x)).astype(x.dtype), None
