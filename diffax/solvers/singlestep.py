"""Singlestep DPM-Solver and DPM-Solver++: groups of steps from one base point.

A group of `order` intervals starts from one state. Its inner points are stages: the network is
asked there, and the last interval's end is reached with the group's full order. Stages lie on the
grid, so a run costs one network call an interval; on grids even in log-SNR
(`spacing="logsnr"`) they lie where the papers put them (Lu et al. 2022a, algorithms 1-2; 2022b,
DPM-Solver++(2S)).
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from diffax.denoiser import Denoiser
from diffax.noun import noun, structure
from diffax.schedules import Point
from diffax.solvers.dpm_solver import check_options, positive_alpha
from diffax.solvers.multistep import (
    LinearSteps,
    by_order,
    earlier,
    exponential_moments,
    initial_state,
    interpolation_weights,
    linear_step,
    log_snr_step,
    remember,
)


@noun
class SinglestepState:
    """Number of the step, the group's base state, order of every step, table, answers."""

    index: Array
    base: Array
    orders: Array
    steps: LinearSteps
    answers: Array


@noun
class DPMSolverSinglestep:
    """DPM-Solver and DPM-Solver++ in groups of `order` intervals. One network call an interval.

    Attributes:
        order: 1 to 3.
        kind: `midpoint`, the papers' forms, of full order where stages are even in log-SNR, or
            `heun`, which integrates the polynomial through all stages exactly, on any grid.
        prediction: `x0` (DPM-Solver++) or `eps` (DPM-Solver).
        stochastic: the SDE form of DPM-Solver++; every interval adds noise.
        lower_order_final: where the order divides the steps, take the last one with order 1.
        compat: None, or "diffusers": at order 3 its sign slip in the stochastic form.
    """

    order: int = structure(2)
    kind: str = structure("midpoint")
    prediction: str = structure("x0")
    stochastic: bool = structure(False)
    lower_order_final: bool = structure(True)
    compat: str | None = structure(None)

    def __post_init__(self):
        check_options(self.order, self.kind, self.compat)
        if self.prediction not in ("x0", "eps"):
            raise ValueError(f"prediction should be x0 or eps, got {self.prediction!r}")
        if self.stochastic and self.prediction == "eps":
            raise ValueError("the stochastic singlestep solver needs prediction x0, got eps")

    def init(self, x: Array, grid: Point) -> SinglestepState:
        """The table of weights, and which step belongs to which group."""
        steps = grid.t.shape[0] - 1
        orders = jnp.asarray(group_orders(steps, self.order, self.lower_order_final))
        # Into the clean end the step is the guess of x0, from the newest point.
        orders = jnp.where(grid.sigma[1:] == 0, 1, orders)
        table = self._table(grid, orders)
        start = initial_state(x, table)
        return SinglestepState(start.index, x, orders, table, start.answers)

    def step(
        self,
        denoiser: Denoiser,
        x: Array,
        state: SinglestepState,
        here: Point,
        there: Point,
        keys: Array,
    ) -> tuple[Array, SinglestepState]:
        """From the group's base to the next stage or the group's end."""
        guess = denoiser(x, here)
        answers = remember(state.answers, guess.x0 if self.prediction == "x0" else guess.eps)
        base = jnp.where(state.orders[state.index] == 1, x, state.base)
        moved = linear_step(state.steps[state.index], base, answers, keys)
        return moved, SinglestepState(state.index + 1, base, state.orders, state.steps, answers)

    def _table(self, grid: Point, orders: Array) -> LinearSteps:
        """Weights for order 1, 2, 3: from the base 0, 1, 2 points before `here`."""
        alpha = positive_alpha(grid[:-1])
        here, there = Point(grid.t[:-1], alpha, grid.sigma[:-1]), grid[1:]
        # A step that is no stage of an order reads a wrong base below and is not chosen.
        before = [jax.tree.map(lambda f, b=back: earlier(f, b), here) for back in range(self.order)]
        keeps, rows, spreads = [], [], []
        for order in range(1, self.order + 1):
            base = before[order - 1]
            h = log_snr_step(base, there)
            # Stages, newest first, in units of h from the base.
            width = jnp.where(h == 0, 1.0, jnp.minimum(h, 50.0))
            nodes = [log_snr_step(base, before[back]) / width for back in range(order)]
            keep, first, moments, spread = self._integrals(base, there, h, order)
            keeps.append(keep[:, None])
            spreads.append(spread[:, None])
            rows.append(first[:, None] if order == 1 else self._weights(nodes, moments, order))
        spread = by_order(orders, spreads)[:, 0] if self.stochastic else None
        return LinearSteps(by_order(orders, keeps)[:, 0], by_order(orders, rows), spread)

    def _integrals(
        self, base: Point, there: Point, h: Array, order: int
    ) -> tuple[Array, Array, list[Array], Array]:
        """What is kept of the base, the exact weight of order 1, the moments, and the noise."""
        long = jnp.minimum(h, 50.0)
        if self.prediction == "eps":
            keep = there.alpha / positive_alpha(base)
            first = there.sigma - keep * base.sigma
            moments = [-there.sigma * long * m for m in exponential_moments(long, order)]
            return keep, first, moments, jnp.zeros_like(h)
        z = 2 * long if self.stochastic else long
        moments = [there.alpha * z * m for m in exponential_moments(-z, order)]
        if self.stochastic:
            keep = there.sigma / base.sigma * jnp.exp(-h)
            spread = there.sigma * jnp.sqrt(-jnp.expm1(-2 * h))
            if self.compat == "diffusers" and order == 3:
                moments[2] = moments[2] - 2 * there.alpha
            return keep, -jnp.expm1(-2 * h) * there.alpha, moments, spread
        keep = there.sigma / base.sigma
        return keep, -jnp.expm1(-h) * there.alpha, moments, jnp.zeros_like(h)

    def _weights(self, nodes: list[Array], moments: list[Array], order: int) -> Array:
        if self.kind == "heun":
            return interpolation_weights(nodes, moments)
        # A line through the newest stage and the base.
        slope = 0.5 * moments[0] if order == 2 else moments[1]
        newest, base = interpolation_weights([nodes[0], nodes[-1]], [moments[0], slope]).T
        middle = [jnp.zeros_like(newest)] * (order - 2)
        return jnp.stack([newest, *middle, base], axis=1)


def group_orders(steps: int, order: int, lower_order_final: bool) -> np.ndarray:
    """How many points of its group every step has seen: 1, 2, 3, 1, 2, 3, ...

    With `lower_order_final` the last step has order 1 also where the order divides the steps, as
    in the papers' own code.
    """
    orders = np.arange(steps) % order + 1
    if lower_order_final and steps % order == 0:
        orders[-1] = 1
    return orders
