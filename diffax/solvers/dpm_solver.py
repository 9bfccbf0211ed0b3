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
from diffax.schedules.point import root
from diffax.solvers.ddim import ETA
from diffax.solvers.description import (
    Description,
    Name,
    Option,
    check_options,
    choice,
    flag,
    whole,
)
from diffax.solvers.ends import lost, positive_alpha
from diffax.solvers.keys import Keys
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

# What the singlestep form takes too.
OPTIONS: dict[str, Option] = {
    "order": whole("number of answers used", 1, 3),
    "kind": choice("form of order 2", "midpoint", "heun"),
    "lower_order_final": flag("lower the order over the last steps"),
    "compat": choice("repeat another program's numbers", "diffusers", optional=True),
}
_OPTIONS = {**OPTIONS, "euler_at_final": flag("take the last step with order 1")}


@noun
class DPMSolverPP:
    """DPM-Solver++ multistep, order 1 to 3 (Lu et al. 2022b, alg. 2; order 2 is "DPM++ 2M").

        D  = (1 + 1 / (2 r)) x0(x, t) - 1 / (2 r) x0(x_1, t_1),    r = h_1 / h
        x' = sigma' / sigma x - alpha' (e^-h - 1) D                 (order 2, midpoint)

    where `_1` marks the step before. One network call a step.

    Attributes:
        order: 1 is DDIM; 2 for guided sampling; 3 for unconditional.
        kind: of order 2: `midpoint`, as published, or `heun`, the exact integral of the line.
        lower_order_final: lower the order over the last steps of runs under 15 steps.
        euler_at_final: take the last step with order 1 however many there are.
        compat: None, or "diffusers" for its numbers at order 3: it halves the second difference's
            weight (as does the paper's own code), which leaves order 2.

    Example:
        >>> DPMSolverPP(order=3).order
        3
    """

    description = Description(
        names=(
            Name(
                "dpmpp_2m",
                "DPM-Solver++ multistep, order 2: the usual choice at 15-25 steps",
                also=(
                    "DPM++ 2M",
                    "DPM-Solver++",
                    "DPMSolverMultistepScheduler",
                    "EDMDPMSolverMultistepScheduler",
                ),
            ),
            Name(
                "dpmpp_3m", "DPM-Solver++ multistep, order 3, for unguided sampling", {"order": 3}
            ),
        ),
        paper="Lu et al. 2022b, alg. 2",
        order=lambda solver: solver.order,
        options=_OPTIONS,
    )

    order: int = structure(default=2)
    kind: str = structure(default="midpoint")
    lower_order_final: bool = structure(default=True)
    euler_at_final: bool = structure(default=False)
    compat: str | None = structure(default=None)

    def __post_init__(self) -> None:
        check_options(self)

    def init(self, x: Array, grid: Point) -> MultistepState:
        """The table of weights."""
        current, next = grid[:-1], grid[1:]
        h, nodes = nodes_in_log_snr(grid, self.order)
        moments = _thirds(self.compat, _scaled_moments(-h, self.order))
        weights = _weights(self, grid, nodes, lost(current, next), moments)
        steps = LinearSteps(next.sigma / current.sigma, next.alpha[:, None] * weights)
        return initial_state(x, steps)

    def step(
        self,
        denoiser: Denoiser,
        x: Array,
        state: MultistepState,
        current: Point,
        next: Point,
        keys: Keys,
    ) -> tuple[Array, MultistepState]:
        """Extrapolate x0 from the last answers and integrate."""
        return advance(state, x, denoiser(x, current).x0, keys)


@noun
class SDEDPMSolverPP:
    """SDE-DPM-Solver++ multistep (Lu et al. 2022b, sec. 5; order 2 is "DPM++ 2M SDE").

        x' = sigma' / sigma e^-h x + alpha' (1 - e^-2h) D + sigma' sqrt(1 - e^-2h) z

    with D as in `DPMSolverPP` and z fresh noise. With eta, `e^-h` becomes `e^(-eta h)`, and `2 h`
    becomes `(1 + eta) h` before D and `2 eta h` before z. One network call a step.

    Attributes:
        order: 1 to 3.
        kind: of order 2: `midpoint` or `heun`, as in `DPMSolverPP`.
        lower_order_final: as in `DPMSolverPP`.
        euler_at_final: as in `DPMSolverPP`.
        eta: how much fresh noise: 0 is the ODE, 1 the SDE of the paper; in [0, inf); traced. The
            noise grows as sqrt(eta): its infinite slope at eta 0 counts as zero.
        compat: None, or "diffusers" for its numbers at order 3, where a sign slip in the second
            difference's weight leaves order 1.
    """

    description = Description(
        names=(
            Name(
                "dpmpp_2m_sde",
                "SDE-DPM-Solver++ multistep ('DPM++ 2M SDE')",
                also=("DPM++ 2M SDE", "SDE-DPM-Solver++"),
            ),
        ),
        paper="Lu et al. 2022b, sec. 5",
        order=lambda solver: 1 if solver.eta else solver.order,
        stochastic="eta",
        options={**_OPTIONS, "eta": ETA},
    )

    order: int = structure(default=2)
    kind: str = structure(default="midpoint")
    lower_order_final: bool = structure(default=True)
    euler_at_final: bool = structure(default=False)
    eta: ArrayLike = number(default=1.0)
    compat: str | None = structure(default=None)

    def __post_init__(self) -> None:
        check_options(self)

    def init(self, x: Array, grid: Point) -> MultistepState:
        """The table of weights."""
        current, next = grid[:-1], grid[1:]
        h, nodes = nodes_in_log_snr(grid, self.order)
        # Infinite steps count as long ones: infinity has no slope in eta.
        moments = _scaled_moments(-jnp.minimum(h, 100.0) * (1 + self.eta), self.order)
        if self.compat == "diffusers" and self.order == 3:
            moments[2] = moments[2] / 2 - 1
        weights = _weights(self, grid, nodes, lost(current, next, 1 + self.eta), moments)
        # sigma' / sigma e^(-eta h); 0^0 = 1 at eta 0
        keep = (next.sigma / current.sigma) ** (1 + self.eta)
        keep = keep * (current.alpha / next.alpha) ** self.eta
        # 1 - e^(-2 eta h); all of it where h is infinite and eta is not 0
        infinite = jnp.isinf(h)
        fresh = -jnp.expm1(-2 * self.eta * jnp.where(infinite, 0.0, h))
        fresh = jnp.where(infinite & (jnp.asarray(self.eta) > 0), 1.0, fresh)
        steps = LinearSteps(keep, next.alpha[:, None] * weights, next.sigma * root(fresh))
        return initial_state(x, steps)

    def step(
        self,
        denoiser: Denoiser,
        x: Array,
        state: MultistepState,
        current: Point,
        next: Point,
        keys: Keys,
    ) -> tuple[Array, MultistepState]:
        """Extrapolate x0 from the last answers, integrate, and add fresh noise."""
        return advance(state, x, denoiser(x, current).x0, keys)


@noun
class DPMSolver:
    """DPM-Solver multistep on eps, order 1 to 3 (Lu et al. 2022a, sec. 3; 2022b, appendix).

        D  = (1 + 1 / (2 r)) eps(x, t) - 1 / (2 r) eps(x_1, t_1),    r = h_1 / h
        x' = alpha' / alpha x - sigma' (e^h - 1) D                   (order 2, midpoint)

    where `_1` marks the step before. Without clipping it is as good as DPM-Solver++; with guidance
    or clipping prefer that one. One network call a step.

    Attributes:
        order: 1 is DDIM.
        kind: of order 2: `midpoint` or `heun`, as in `DPMSolverPP`.
        lower_order_final: as in `DPMSolverPP`.
        euler_at_final: as in `DPMSolverPP`.
        compat: as in `DPMSolverPP`.
    """

    description = Description(
        names=(
            Name("dpm_2m", "DPM-Solver multistep on eps, order 2", also=("DPM-Solver",)),
            Name("dpm_3m", "DPM-Solver multistep on eps, order 3", {"order": 3}),
        ),
        paper="Lu et al. 2022a, eq. 3.4, multistep",
        order=lambda solver: solver.order,
        options=_OPTIONS,
    )

    order: int = structure(default=2)
    kind: str = structure(default="midpoint")
    lower_order_final: bool = structure(default=True)
    euler_at_final: bool = structure(default=False)
    compat: str | None = structure(default=None)

    def __post_init__(self) -> None:
        check_options(self)

    def init(self, x: Array, grid: Point) -> MultistepState:
        """The table of weights."""
        keep, weights, _ = _noise_table(self, grid)
        return initial_state(x, LinearSteps(keep, weights))

    def step(
        self,
        denoiser: Denoiser,
        x: Array,
        state: MultistepState,
        current: Point,
        next: Point,
        keys: Keys,
    ) -> tuple[Array, MultistepState]:
        """Extrapolate eps from the last answers and integrate."""
        return advance(state, x, denoiser(x, current).eps, keys)


@noun
class SDEDPMSolver:
    """SDE-DPM-Solver multistep on eps, order 1 or 2 (Lu et al. 2022b, sec. 5).

        x' = alpha' / alpha x - 2 sigma' (e^h - 1) D + sigma' sqrt(e^2h - 1) z

    with D as in `DPMSolver` and z fresh noise. The step into the clean end is deterministic: its
    noise would stay in the sample. One network call a step.

    Attributes:
        order: 1 or 2.
        kind: of order 2: `midpoint` or `heun`, as in `DPMSolverPP`.
        lower_order_final: as in `DPMSolverPP`.
        euler_at_final: as in `DPMSolverPP`.
        compat: as in `DPMSolverPP`; order 3, where it matters, this solver has not.
    """

    description = Description(
        names=(Name("sde_dpm_2m", "SDE-DPM-Solver multistep on eps"),),
        paper="Lu et al. 2022b, sec. 5",
        stochastic=True,
        options={**_OPTIONS, "order": whole("number of answers used", 1, 2)},
    )

    order: int = structure(default=2)
    kind: str = structure(default="midpoint")
    lower_order_final: bool = structure(default=True)
    euler_at_final: bool = structure(default=False)
    compat: str | None = structure(default=None)

    def __post_init__(self) -> None:
        check_options(self)

    def init(self, x: Array, grid: Point) -> MultistepState:
        """The table of weights."""
        keep, weights, h = _noise_table(self, grid)
        clean = grid.sigma[1:] == 0
        # 40 is the longest step whose e^2h is finite in float32.
        std = grid.sigma[1:] * root(jnp.expm1(2 * jnp.where(clean, 0.0, jnp.clip(h, 0.0, 40.0))))
        steps = LinearSteps(keep, jnp.where(clean[:, None], weights, 2 * weights), std)
        return initial_state(x, steps)

    def step(
        self,
        denoiser: Denoiser,
        x: Array,
        state: MultistepState,
        current: Point,
        next: Point,
        keys: Keys,
    ) -> tuple[Array, MultistepState]:
        """Extrapolate eps from the last answers, integrate, and add fresh noise."""
        return advance(state, x, denoiser(x, current).eps, keys)


_Multistep = DPMSolverPP | SDEDPMSolverPP | DPMSolver | SDEDPMSolver


def _scaled_moments(z: Array, count: int) -> list[Array]:
    """`|z| int_0^1 exp((1 - u) z) u^k du`, with infinite steps replaced by long ones."""
    z = jnp.clip(z, -100.0, 100.0)
    return [jnp.abs(z) * moment for moment in exponential_moments(z, count)]


def _thirds(compat: str | None, moments: list[Array]) -> list[Array]:
    if compat == "diffusers" and len(moments) == 3:
        return [*moments[:2], moments[2] / 2]
    return moments


def _weights(
    solver: _Multistep, grid: Point, nodes: list[Array], first: Array, moments: list[Array]
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


def _noise_table(solver: _Multistep, grid: Point) -> tuple[Array, Array, Array]:
    """`keep`, `weights` and `h` of the solvers that take eps for a polynomial."""
    current, next = grid[:-1], grid[1:]
    alpha = positive_alpha(current)
    h, nodes = nodes_in_log_snr(
        Point(grid.t, grid.alpha.at[:-1].set(alpha), grid.sigma), solver.order
    )
    keep = next.alpha / alpha
    # sigma' (1 - e^h), written so that it stays finite into the clean end.
    first = next.sigma - keep * current.sigma
    scaled = _thirds(solver.compat, _scaled_moments(jnp.minimum(h, 50.0), solver.order))
    moments = [-next.sigma * moment for moment in scaled]
    return keep, _weights(solver, grid, nodes, first, moments), h
