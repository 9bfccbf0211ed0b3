"""DPM-Solver and DPM-Solver++, multistep, as ODE and as SDE solvers.

With `lambda = log(alpha / sigma)`, `h` its growth over a step, and x0 a polynomial in lambda,

    x' = sigma'/sigma x + alpha' int_0^h exp(s - h) x0(lambda + s) ds      (DPM-Solver++)
    x' = alpha'/alpha x - sigma' int_0^h exp(h - s) eps(lambda + s) ds     (DPM-Solver)

are solved exactly (Lu et al. 2022a, DPM-Solver, eq. 3.4; 2022b, DPM-Solver++, eq. 8 and alg. 2).
One network call a step.
"""

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from diffax.denoiser import Denoiser
from diffax.noun import noun, number, structure
from diffax.schedules import Point
from diffax.solvers.multistep import (
    LinearSteps,
    MultistepState,
    advance,
    by_order,
    exponential_moments,
    initial_state,
    interpolation_weights,
    nodes_in_log_snr,
    step_orders,
)

# Solvers that divide by alpha see this much signal at pure noise, where there is none.
LEAST_ALPHA = 2.0**-12


def positive_alpha(point: Point) -> Array:
    """alpha, or `LEAST_ALPHA` at pure noise, where it is zero."""
    return jnp.where(point.alpha == 0, LEAST_ALPHA, point.alpha)


@noun
class DPMSolverPP:
    """DPM-Solver++ multistep, order 1 to 3 (Lu et al. 2022b, alg. 2; order 2 is "DPM++ 2M").

    Attributes:
        order: 1 is DDIM; 2 for guided sampling; 3 for unconditional.
        kind: of order 2: `midpoint`, as published, or `heun`, the exact integral of the line.
        lower_order_final: lower the order over the last steps of runs under 15 steps.
        euler_at_final: take the last step with order 1 however many there are.
        compat: None, or "diffusers" for its numbers at order 3: it halves the second difference's
            weight (as does the paper's own code), which leaves order 2.
    """

    order: int = structure(2)
    kind: str = structure("midpoint")
    lower_order_final: bool = structure(True)
    euler_at_final: bool = structure(False)
    compat: str | None = structure(None)

    def __post_init__(self):
        check_options(self.order, self.kind, self.compat)

    def init(self, x: Array, grid: Point) -> MultistepState:
        """The table of weights."""
        here, there = grid[:-1], grid[1:]
        h, nodes = nodes_in_log_snr(grid, self.order)
        first = -jnp.expm1(-h)
        moments = _thirds(self.compat, _scaled_moments(-h, self.order))
        weights = _weights(self, grid, nodes, first, moments)
        steps = LinearSteps(there.sigma / here.sigma, there.alpha[:, None] * weights)
        return initial_state(x, steps)

    def step(
        self,
        denoiser: Denoiser,
        x: Array,
        state: MultistepState,
        here: Point,
        there: Point,
        keys: Array,
    ) -> tuple[Array, MultistepState]:
        """Extrapolate x0 from the last answers and integrate."""
        return advance(state, x, denoiser(x, here).x0, keys)


@noun
class SDEDPMSolverPP:
    """SDE-DPM-Solver++ multistep (Lu et al. 2022b, sec. 5; order 2 is "DPM++ 2M SDE").

    Attributes:
        order: 1 to 3.
        kind: of order 2: `midpoint` or `heun`, as in `DPMSolverPP`.
        lower_order_final: as in `DPMSolverPP`.
        euler_at_final: as in `DPMSolverPP`.
        eta: how much fresh noise: 0 is the ODE, 1 the SDE of the paper; traced.
        compat: None, or "diffusers" for its numbers at order 3, where a sign slip in the second
            difference's weight leaves order 1.
    """

    order: int = structure(2)
    kind: str = structure("midpoint")
    lower_order_final: bool = structure(True)
    euler_at_final: bool = structure(False)
    eta: ArrayLike = number(1.0)
    compat: str | None = structure(None)

    def __post_init__(self):
        check_options(self.order, self.kind, self.compat)

    def init(self, x: Array, grid: Point) -> MultistepState:
        """The table of weights."""
        here, there = grid[:-1], grid[1:]
        h, nodes = nodes_in_log_snr(grid, self.order)
        total = (1 + self.eta) * h
        first = -jnp.expm1(-total)
        moments = _scaled_moments(-total, self.order)
        if self.compat == "diffusers" and self.order == 3:
            moments[2] = moments[2] / 2 - 1
        weights = _weights(self, grid, nodes, first, moments)
        kept = jnp.where(jnp.isfinite(h), jnp.exp(-self.eta * h), 0.0)
        fresh = jnp.where(jnp.isfinite(h), -jnp.expm1(-2 * self.eta * h), 1.0)
        steps = LinearSteps(
            there.sigma / here.sigma * kept,
            there.alpha[:, None] * weights,
            there.sigma * jnp.sqrt(fresh),
        )
        return initial_state(x, steps)

    def step(
        self,
        denoiser: Denoiser,
        x: Array,
        state: MultistepState,
        here: Point,
        there: Point,
        keys: Array,
    ) -> tuple[Array, MultistepState]:
        """Extrapolate x0 from the last answers, integrate, and add fresh noise."""
        return advance(state, x, denoiser(x, here).x0, keys)


@noun
class DPMSolver:
    """DPM-Solver multistep on eps, order 1 to 3 (Lu et al. 2022a, sec. 3; 2022b, appendix).

    Without clipping it is as good as DPM-Solver++; with guidance or clipping prefer that one.

    Attributes:
        order: 1 is DDIM.
        kind: of order 2: `midpoint` or `heun`, as in `DPMSolverPP`.
        lower_order_final: as in `DPMSolverPP`.
        euler_at_final: as in `DPMSolverPP`.
        compat: as in `DPMSolverPP`.
    """

    order: int = structure(2)
    kind: str = structure("midpoint")
    lower_order_final: bool = structure(True)
    euler_at_final: bool = structure(False)
    compat: str | None = structure(None)

    def __post_init__(self):
        check_options(self.order, self.kind, self.compat)

    def init(self, x: Array, grid: Point) -> MultistepState:
        """The table of weights."""
        keep, weights, _ = _noise_table(self, grid)
        return initial_state(x, LinearSteps(keep, weights))

    def step(
        self,
        denoiser: Denoiser,
        x: Array,
        state: MultistepState,
        here: Point,
        there: Point,
        keys: Array,
    ) -> tuple[Array, MultistepState]:
        """Extrapolate eps from the last answers and integrate."""
        return advance(state, x, denoiser(x, here).eps, keys)


@noun
class SDEDPMSolver:
    """SDE-DPM-Solver multistep on eps, order 1 or 2 (Lu et al. 2022b, sec. 5).

    The step into the clean end is deterministic: its noise would stay in the sample.

    Attributes:
        order: 1 or 2.
        kind: of order 2: `midpoint` or `heun`, as in `DPMSolverPP`.
        lower_order_final: as in `DPMSolverPP`.
        euler_at_final: as in `DPMSolverPP`.
    """

    order: int = structure(2)
    kind: str = structure("midpoint")
    lower_order_final: bool = structure(True)
    euler_at_final: bool = structure(False)
    compat: str | None = structure(None)

    def __post_init__(self):
        check_options(self.order, self.kind, self.compat, largest=2)

    def init(self, x: Array, grid: Point) -> MultistepState:
        """The table of weights."""
        keep, weights, h = _noise_table(self, grid)
        clean = grid.sigma[1:] == 0
        # Rounding can make an empty step a little negative.
        spread = grid.sigma[1:] * jnp.sqrt(jnp.expm1(2 * jnp.clip(h, 0.0, 50.0)))
        steps = LinearSteps(
            keep,
            jnp.where(clean[:, None], weights, 2 * weights),
            jnp.where(clean, 0.0, spread),
        )
        return initial_state(x, steps)

    def step(
        self,
        denoiser: Denoiser,
        x: Array,
        state: MultistepState,
        here: Point,
        there: Point,
        keys: Array,
    ) -> tuple[Array, MultistepState]:
        """Extrapolate eps from the last answers, integrate, and add fresh noise."""
        return advance(state, x, denoiser(x, here).eps, keys)


def check_options(order: int, kind: str, compat: str | None, largest: int = 3) -> None:
    """Refuse options no DPM-Solver has."""
    if order not in range(1, largest + 1):
        raise ValueError(f"order should be 1 .. {largest}, got {order}")
    if kind not in ("midpoint", "heun"):
        raise ValueError(f"kind should be midpoint or heun, got {kind!r}")
    if compat not in (None, "diffusers"):
        raise ValueError(f"compat should be None or 'diffusers', got {compat!r}")


def _scaled_moments(z: Array, count: int) -> list[Array]:
    """`|z| int_0^1 exp((1 - u) z) u^k du`, with infinite steps replaced by long ones."""
    z = jnp.clip(z, -100.0, 100.0)
    return [jnp.abs(z) * moment for moment in exponential_moments(z, count)]


def _thirds(compat: str | None, moments: list[Array]) -> list[Array]:
    if compat == "diffusers" and len(moments) == 3:
        return [*moments[:2], moments[2] / 2]
    return moments


def _weights(
    solver: DPMSolver, grid: Point, nodes: list[Array], first: Array, moments: list[Array]
) -> Array:
    """Weights `[S, order]` of the answers; `first` is the exact weight of order 1."""
    rows = [first[:, None]]
    if solver.order >= 2:
        # The midpoint form puts the line's first moment at half the weight of its zeroth.
        slope = 0.5 * moments[0] if solver.kind == "midpoint" else moments[1]
        rows.append(interpolation_weights(nodes[:2], [moments[0], slope]))
    if solver.order >= 3:
        rows.append(interpolation_weights(nodes, moments))
    orders = step_orders(grid, solver.order, solver.lower_order_final)
    if solver.euler_at_final:
        orders = orders.at[-1].set(1)
    return by_order(orders, rows)


def _noise_table(solver: DPMSolver, grid: Point) -> tuple[Array, Array, Array]:
    """`keep`, `weights` and `h` of the solvers that take eps for a polynomial."""
    here, there = grid[:-1], grid[1:]
    alpha = positive_alpha(here)
    h, nodes = nodes_in_log_snr(
        Point(grid.t, grid.alpha.at[:-1].set(alpha), grid.sigma), solver.order
    )
    keep = there.alpha / alpha
    # sigma' (1 - e^h), written so that it stays finite into the clean end.
    first = there.sigma - keep * here.sigma
    scaled = _thirds(solver.compat, _scaled_moments(jnp.minimum(h, 50.0), solver.order))
    moments = [-there.sigma * moment for moment in scaled]
    return keep, _weights(solver, grid, nodes, first, moments), h
