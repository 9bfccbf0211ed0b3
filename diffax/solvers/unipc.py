"""UniPC, the unified predictor-corrector (Zhao et al. 2023)."""

import jax
import jax.numpy as jnp
from jax import Array

from diffax.denoiser import Denoiser
from diffax.noun import noun, structure
from diffax.schedules import Point
from diffax.solvers.description import (
    Description,
    Name,
    check_options,
    choice,
    flag,
    whole,
)
from diffax.solvers.ends import lost, positive_alpha
from diffax.solvers.keys import Keys
from diffax.solvers.multistep import (
    LinearSteps,
    by_order,
    exponential_moments,
    interpolation_weights,
    linear_step,
    nodes_in_log_snr,
    remember,
    step_orders,
)


@noun
class UniPCState:
    """Where the last step began, its number, both tables, and the answers, newest first."""

    index: Array
    x: Array
    predictor: LinearSteps
    corrector: LinearSteps
    answers: Array


@noun
class UniPC:
    """UniPC-p: predict with the last p answers, then correct with the new one (alg. 1 and 2).

        x'   = sigma' / sigma x + alpha' (1 - e^-h) m_0 - alpha' B(h) sum_(m<p) a_m D_m / r_m
        x'^c = the same with m <= p,    r_m = (lambda_m - lambda) / h,    D_m = m_m - m_0

    with the guesses of x0 `m_0` at the step's start, `m_1, ...` before it and, for the corrector,
    `m_p` at its end (`r_p = 1`); a solves the order conditions.
    The answer at a predicted point corrects that point and serves the next prediction, so there is
    one network call a step; the last point is predicted only. Order p + 1.

    Attributes:
        order: p, 1 to 3; the order of convergence is p + 1.
        kind: the function B(h): `bh1` (h) or `bh2` (e^h - 1). It matters to the predictor of
            order 2 and the corrector of order 1, whose one weight is set to 1/2.
        predict_x0: integrate x0 (as DPM-Solver++) rather than eps.
        lower_order_final: lower the order to 1 over the last steps, however many there are.
        correct_from: number of the first step whose end is corrected; later is safer with strong
            guidance at the start.
    """

    description = Description(
        names=(
            Name(
                "unipc",
                "predictor-corrector for 5-10 steps (Zhao et al. 2023)",
                also=(
                    "UniPCMultistepScheduler",
                    "uni_pc_bh2",
                ),
            ),
        ),
        paper="Zhao et al. 2023, alg. 1-2",
        order=lambda solver: solver.order + 1,
        options={
            "order": whole("number of answers used", 1, 3),
            "kind": choice("the function B(h)", "bh1", "bh2"),
            "predict_x0": flag("take x0, not eps, for a polynomial"),
            "lower_order_final": flag("lower the order over the last steps"),
            "correct_from": whole("number of the first step whose end is corrected", 0),
        },
    )

    order: int = structure(default=2)
    kind: str = structure(default="bh2")
    predict_x0: bool = structure(default=True)
    lower_order_final: bool = structure(default=True)
    correct_from: int = structure(default=0)

    def __post_init__(self) -> None:
        check_options(self)

    def init(self, x: Array, grid: Point) -> UniPCState:
        """The tables of weights."""
        predictor, corrector = self._tables(grid)
        answers = jnp.zeros((self.order, *x.shape), jnp.promote_types(x.dtype, grid.alpha.dtype))
        return UniPCState(jnp.zeros((), jnp.int32), x, predictor, corrector, answers)

    def step(
        self,
        denoiser: Denoiser,
        x: Array,
        state: UniPCState,
        current: Point,
        next: Point,
        keys: Keys,
    ) -> tuple[Array, UniPCState]:
        """Correct `x` with the answer at it, then predict the next point."""
        guess = denoiser(x, current)
        newest = guess.x0 if self.predict_x0 else guess.eps
        seen = jnp.concatenate([newest[None].astype(state.answers.dtype), state.answers])
        corrected = linear_step(state.corrector[state.index], state.x, seen, keys)
        x = jnp.where(state.index > self.correct_from, corrected, x)
        answers = remember(state.answers, newest)
        moved = linear_step(state.predictor[state.index], x, answers, keys)
        return moved, UniPCState(state.index + 1, x, state.predictor, state.corrector, answers)

    def _tables(self, grid: Point) -> tuple[LinearSteps, LinearSteps]:
        current, next = grid[:-1], grid[1:]
        alpha = positive_alpha(current)
        h, nodes = nodes_in_log_snr(grid, self.order)
        long = jnp.minimum(h, 50.0)
        z = -long if self.predict_x0 else long
        if self.predict_x0:
            keep, scale = next.sigma / current.sigma, next.alpha
            first = lost(current, next) * scale
        else:
            keep, scale = next.alpha / alpha, -next.sigma
            first = next.sigma - keep * current.sigma
        moments = [scale * long * m for m in exponential_moments(z, self.order + 1)]
        half = 0.5 * scale * (long if self.kind == "bh1" else jnp.abs(jnp.expm1(z)))

        orders = step_orders(grid, self.order, False)
        if self.lower_order_final:
            steps = orders.shape[0]
            orders = jnp.minimum(orders, steps - jnp.arange(steps))

        predict = [first[:, None]]
        correct = [interpolation_weights([jnp.ones_like(h), nodes[0]], [first, half])]
        if self.order >= 2:
            predict.append(interpolation_weights(nodes[:2], [moments[0], half]))
            correct.append(interpolation_weights([jnp.ones_like(h), *nodes[:2]], moments[:3]))
        if self.order >= 3:
            predict.append(interpolation_weights(nodes, moments[:3]))
            correct.append(interpolation_weights([jnp.ones_like(h), *nodes], moments[:4]))
        # The corrector of a step runs once its end is known: at the next one.
        later = LinearSteps(keep, by_order(orders, correct))
        later = jax.tree.map(lambda c: jnp.concatenate([jnp.zeros_like(c[:1]), c[:-1]]), later)
        return LinearSteps(keep, by_order(orders, predict)), later
