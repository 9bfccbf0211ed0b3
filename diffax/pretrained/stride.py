"""diffusers' previous time, T // S below this one, whatever the grid says; see `compat`."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from diffax.denoiser import Denoiser
from diffax.noun import noun
from diffax.schedules import Discrete, Point, Schedule
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
        self, denoiser: Denoiser, x: Array, state: Any, here: Point, there: Point, keys: Array
    ) -> tuple[Array, Any]:
        """The wrapped solver's step to `here.t - stride`."""
        t = here.t - self.stride
        on_table = self.schedule.at(jnp.maximum(t, 0.0))
        there = jax.tree.map(lambda a, b: jnp.where(t >= 0, a, b), on_table, self.end)
        return self.solver.step(denoiser, x, state, here, there, keys)


def by_stride(solver: Solver, schedule: Discrete, steps: int, grid: Point) -> Solver:
    """The solver itself where the grid's own steps are the same, else wrapped."""
    stride = schedule.num_steps // steps
    times = np.asarray(grid.t[:-1])
    if np.all(np.diff(times) == -stride) and times[-1] < stride:
        return solver
    return ByStride(solver, schedule, jnp.asarray(stride, grid.t.dtype), grid[-1])
