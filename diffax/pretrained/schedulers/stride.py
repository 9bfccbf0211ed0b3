"""diffusers' previous time, T // S below this one, whatever the grid says."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from diffax.denoiser import Denoiser
from diffax.noun import noun, number
from diffax.schedules import Discrete, Point, Schedule
from diffax.solvers.keys import Keys
from diffax.solvers.solver import Solver


@noun
class ByStride:
    """A solver that steps by T // S in t, whatever the grid's next time is.

    diffusers' DDIM does so, which is wrong for linspace spacing, and for trailing where S does not
    divide T: the state is then at another noise level than the network is told.

    Attributes:
        solver: the solver that makes the step.
        schedule: the noise schedule.
        stride: T // S.
        end: the point for times below 0.
    """

    solver: Solver
    schedule: Schedule
    stride: Array
    end: Point

    def init(self, x: Array, grid: Point) -> Any:
        """The wrapped solver's state."""
        return self.solver.init(x, grid)

    def step(
        self, denoiser: Denoiser, x: Array, state: Any, current: Point, next: Point, keys: Keys
    ) -> tuple[Array, Any]:
        """The wrapped solver's step to `current.t - stride`."""
        below = _below(current, self.schedule, self.stride, self.end)
        return self.solver.step(denoiser, x, state, current, below, keys)


@noun
class StrideInversion:
    """diffusers' DDIM inversion: up to each time from T // S below it, whatever the grid says.

    The network is told the time that is gone to; x0 may be limited while eps is kept. Where the
    grid's own steps are T // S and nothing is limited this is `DDIMInversion`.

    Attributes:
        schedule: the noise schedule.
        stride: T // S.
        end: the point for times below 0.
    """

    schedule: Schedule
    stride: ArrayLike = number()
    end: Point

    def init(self, x: Array, grid: Point) -> None:
        """No state."""

    def step(
        self, denoiser: Denoiser, x: Array, state: None, current: Point, next: Point, keys: Keys
    ) -> tuple[Array, None]:
        """Guess at the level below, told the time above; then up along the guess."""
        below = _below(next, self.schedule, self.stride, self.end)
        guess = denoiser(x, Point(next.t, below.alpha, below.sigma))
        return (next.alpha * guess.x0 + next.sigma * guess.eps).astype(x.dtype), None


def by_stride(solver: Solver, schedule: Discrete, steps: int, grid: Point) -> Solver:
    """The solver itself where the grid's own steps are the same, else wrapped."""
    stride = schedule.num_steps // steps
    times = np.asarray(grid.t[:-1])
    if np.all(np.diff(times) == -stride) and times[-1] < stride:
        return solver
    return ByStride(solver, schedule, jnp.asarray(stride, grid.t.dtype), grid[-1])


def _below(point: Point, schedule: Schedule, stride: ArrayLike, end: Point) -> Point:
    t = point.t - stride
    on_table = schedule.at(jnp.maximum(t, 0.0))
    return jax.tree.map(lambda a, b: jnp.where(t >= 0, a, b), on_table, end)
