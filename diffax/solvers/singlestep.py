"""Singlestep DPM-Solver and DPM-Solver++: groups of steps from one base point.

A group of `order` intervals starts from one state. Its inner points are stages: the network is
asked next, and the last interval's end is reached with the group's full order. Stages lie on the
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
from diffax.schedules.point import root
from diffax.solvers.description import Description, Name, check_options, choice, flag
from diffax.solvers.dpm_solver import OPTIONS
from diffax.solvers.ends import decay, log_snr_step, lost, positive_alpha
from diffax.solvers.keys import Keys
from diffax.solvers.multistep import (
    LinearSteps,
    by_order,
    earlier,
    exponential_moments,
    initial_state,
    interpolation_weights,
    linear_step,
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

    From the base x at s_0, with the stage u at s_1 in between (order 2, midpoint):

        u  = sigma_1 / sigma x - alpha_1 (e^-h_1 - 1) x0(x, s_0)
        D  = (1 - 1 / (2 r)) x0(x, s_0) + 1 / (2 r) x0(u, s_1),    r = h_1 / h
        x' = sigma' / sigma x - alpha' (e^-h - 1) D                  (Lu et al. 2022b, alg. 1)

    Attributes:
        order: 1 to 3.
        kind: `midpoint`, the papers' forms, of full order where stages are even in log-SNR, or
            `heun`, which integrates the polynomial through all stages exactly, on any grid.
        prediction: `x0` (DPM-Solver++) or `eps` (DPM-Solver).
        stochastic: the SDE form of DPM-Solver++; every interval adds noise.
        lower_order_final: where the order divides the steps, take the last one with order 1.
        compat: None, or "diffusers": at order 3 its sign slip in the stochastic form.
    """

    description = Description(
        names=(
            Name(
                "dpmpp_2s",
                "DPM-Solver++ singlestep, order 2, on a logsnr grid",
                also=("DPMSolverSinglestepScheduler",),
            ),
            Name("dpmpp_3s", "DPM-Solver++ singlestep, order 3, on a logsnr grid", {"order": 3}),
            Name(
                "dpm_2s",
                "DPM-Solver singlestep on eps, order 2, on a logsnr grid",
                {"prediction": "eps"},
            ),
            Name(
                "dpm_3s",
                "DPM-Solver singlestep on eps, order 3, on a logsnr grid",
                {"order": 3, "prediction": "eps"},
            ),
        ),
        paper="Lu et al. 2022a, alg. 1-2; 2022b, alg. 1",
        order=lambda solver: solver.order,
        stochastic="stochastic",
        options={
            **OPTIONS,
            "prediction": choice("what is taken for a polynomial", "x0", "eps"),
            "stochastic": flag("add fresh noise in every step"),
        },
    )

    order: int = structure(default=2)
    kind: str = structure(default="midpoint")
    prediction: str = structure(default="x0")
    stochastic: bool = structure(default=False)
    lower_order_final: bool = structure(default=True)
    compat: str | None = structure(default=None)

    def __post_init__(self) -> None:
        check_options(self)
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
        current: Point,
        next: Point,
        keys: Keys,
    ) -> tuple[Array, SinglestepState]:
        """From the group's base to the next stage or the group's end."""
        guess = denoiser(x, current)
        answers = remember(state.answers, guess.x0 if self.prediction == "x0" else guess.eps)
        base = jnp.where(state.orders[state.index] == 1, x, state.base)
        moved = linear_step(state.steps[state.index], base, answers, keys)
        return moved, SinglestepState(state.index + 1, base, state.orders, state.steps, answers)

    def _table(self, grid: Point, orders: Array) -> LinearSteps:
        """Weights for order 1, 2, 3: from the base 0, 1, 2 points before the current one."""
        alpha = positive_alpha(grid[:-1])
        current, next = Point(grid.t[:-1], alpha, grid.sigma[:-1]), grid[1:]
        # A step that is no stage of an order reads a wrong base below and is not chosen.
        before = [
            jax.tree.map(lambda f, b=back: earlier(f, b), current) for back in range(self.order)
        ]
        keeps, rows, stds = [], [], []
        for order in range(1, self.order + 1):
            base = before[order - 1]
            h = log_snr_step(base, next)
            # Stages, newest first, in units of h from the base.
            width = jnp.where(h == 0, 1.0, jnp.minimum(h, 50.0))
            nodes = [log_snr_step(base, before[back]) / width for back in range(order)]
            keep, first, moments, std = self._integrals(base, next, h, order)
            keeps.append(keep[:, None])
            stds.append(std[:, None])
            rows.append(first[:, None] if order == 1 else self._weights(nodes, moments, order))
        std = by_order(orders, stds)[:, 0] if self.stochastic else None
        return LinearSteps(by_order(orders, keeps)[:, 0], by_order(orders, rows), std)

    def _integrals(
        self, base: Point, next: Point, h: Array, order: int
    ) -> tuple[Array, Array, list[Array], Array]:
        """What is kept of the base, the exact weight of order 1, the moments, and the noise."""
        long = jnp.minimum(h, 50.0)
        if self.prediction == "eps":
            keep = next.alpha / positive_alpha(base)
            first = next.sigma - keep * base.sigma
            moments = [-next.sigma * long * m for m in exponential_moments(long, order)]
            return keep, first, moments, jnp.zeros_like(h)
        z = 2 * long if self.stochastic else long
        moments = [next.alpha * z * m for m in exponential_moments(-z, order)]
        if self.stochastic:
            keep = next.sigma / base.sigma * decay(base, next)
            fresh = lost(base, next, 2.0)
            if self.compat == "diffusers" and order == 3:
                moments[2] = moments[2] - 2 * next.alpha
            return keep, fresh * next.alpha, moments, next.sigma * root(fresh)
        keep = next.sigma / base.sigma
        return keep, lost(base, next) * next.alpha, moments, jnp.zeros_like(h)

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
