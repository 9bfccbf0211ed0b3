"""What multistep solvers share: linear steps whose weights are exact integrals of polynomials.

Every multistep solver crosses an interval by

    x' = keep x + sum_j weights[j] m_j + std z,

where `m_0` is the network's newest answer, `m_1` the one before. They differ only in what `m` is
(x0 or eps), in the variable in which it is taken for a polynomial, and in that polynomial's degree.
The weights depend on the grid alone, so `init` makes a table of them, one row an interval.
"""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import Array

from diffax.noun import noun
from diffax.schedules import Point
from diffax.solvers.ends import log_snr_step
from diffax.solvers.keys import Keys, normal


@noun
class LinearSteps:
    """One row an interval: `x' = keep x + weights . m + std z`.

    Attributes:
        keep: `[S]`.
        weights: `[S, order]`, newest answer first; zero where a step uses fewer answers.
        std: standard deviation of the fresh noise, `[S]`, or None for deterministic solvers.
    """

    keep: Array
    weights: Array
    std: Array | None = None

    def __getitem__(self, index: Array) -> "LinearSteps":
        """One row."""
        return jax.tree.map(lambda column: column[index], self)


@noun
class MultistepState:
    """Number of the step, the table, and the answers so far, newest first `[order, B, ...]`."""

    index: Array
    steps: LinearSteps
    answers: Array


def initial_state(x: Array, steps: LinearSteps) -> MultistepState:
    """No answers yet."""
    order = steps.weights.shape[1]
    answers = jnp.zeros((order, *x.shape), jnp.promote_types(x.dtype, steps.weights.dtype))
    return MultistepState(jnp.zeros((), jnp.int32), steps, answers)


def remember(answers: Array, newest: Array) -> Array:
    """Put the newest answer in front and forget the oldest."""
    return jnp.concatenate([newest[None].astype(answers.dtype), answers[:-1]])


def advance(
    state: MultistepState, x: Array, answer: Array, keys: Keys
) -> tuple[Array, MultistepState]:
    """One step by the table, after the network's `answer` at the current point."""
    answers = remember(state.answers, answer)
    x = linear_step(state.steps[state.index], x, answers, keys)
    return x, MultistepState(state.index + 1, state.steps, answers)


def linear_step(row: LinearSteps, x: Array, answers: Array, keys: Keys) -> Array:
    """`keep x + weights . answers + std z`."""
    moved = row.keep * x + jnp.tensordot(row.weights, answers, axes=1)
    if row.std is not None:
        moved = moved + row.std * normal(keys, x)
    return moved.astype(x.dtype)


# ---------------------------------------------------------------- orders, step by step


def step_orders(grid: Point, order: int, lower_order_final: bool) -> Array:
    """Order of every step, `[S]`: it grows at the start, and may shrink at the end.

    Args:
        grid: the points, `[S + 1]`.
        order: the solver's order.
        lower_order_final: shrink to order 1 over the last steps where there are fewer than 15,
            which keeps short runs stable (Lu et al. 2022, DPM-Solver++, appendix).

    A step into the clean end always has order 1: it is the guess of x0.
    """
    steps = grid.t.shape[0] - 1
    number = jnp.arange(steps)
    orders = jnp.minimum(order, number + 1)
    if lower_order_final and steps < 15:
        orders = jnp.minimum(orders, steps - number)
    return jnp.where(grid.sigma[1:] == 0, 1, orders)


def by_order(orders: Array, rows: Sequence[Array]) -> Array:
    """From weights for order 1, 2, ... (each `[S, order]`), those of every step's own order."""
    width = max(row.shape[1] for row in rows)
    padded = [jnp.pad(row, ((0, 0), (0, width - row.shape[1]))) for row in rows]
    chosen = padded[0]
    for order, row in enumerate(padded[1:], start=2):
        chosen = jnp.where((orders >= order)[:, None], row, chosen)
    return chosen


# ---------------------------------------------------------------- half-log-SNR


def earlier(values: Array, back: int) -> Array:
    """`values[i - back]` for every `i`, the first ones repeated where there is no earlier one."""
    return jnp.concatenate([jnp.repeat(values[:1], back, axis=0), values[: len(values) - back]])


def nodes_in_log_snr(grid: Point, order: int) -> tuple[Array, list[Array]]:
    """Step sizes `h`, `[S]`, and where the `order` newest answers lie, in units of `h`.

    The newest lies at 0, those before it at negative places; the step ends at 1.
    """
    h = log_snr_step(grid[:-1], grid[1:])
    # Infinite steps, from pure noise or into clean data, are taken with order 1; 50 stands for
    # them here so that the weights that will not be chosen stay finite.
    finite = jnp.minimum(h, 50.0)
    nodes = [jnp.zeros_like(h)]
    for back in range(1, order):
        nodes.append(nodes[-1] - earlier(finite, back) / jnp.where(finite == 0, 1.0, finite))
    return h, nodes


# ---------------------------------------------------------------- integrals


def phis(z: Array, count: int) -> list[Array]:
    """`phi_1(z) .. phi_count(z)` of exponential integrators (Hochbruck & Ostermann 2010, eq. 2.10).

    `phi_k(z) = int_0^1 exp((1 - u) z) u^(k-1) / (k-1)! du`, that is `phi_1(z) = (e^z - 1) / z` and
    `phi_{k+1}(z) = (phi_k(z) - 1/k!) / z`. Going up cancels near zero; there the last one comes
    from its series and the others by going down.
    """
    small = jnp.abs(z) < 1
    inside, outside = jnp.where(small, z, 0.0), jnp.where(small, 1.0, z)
    # Horner's rule on sum_n z^n / (n + count)!, to the precision of float64 for |z| < 1.
    series = jnp.zeros_like(z)
    for n in reversed(range(20)):
        series = series * inside + 1.0 / math.factorial(n + count)
    near = [series]
    for k in reversed(range(1, count)):
        near.insert(0, inside * near[0] + 1.0 / math.factorial(k))
    far = [jnp.expm1(outside) / outside]
    for k in range(1, count):
        far.append((far[-1] - 1.0 / math.factorial(k)) / outside)
    return [jnp.where(small, n, f) for n, f in zip(near, far, strict=True)]


def exponential_moments(z: Array, count: int) -> list[Array]:
    """`int_0^1 exp((1 - u) z) u^k du` for `k = 0 .. count - 1`."""
    return [math.factorial(k) * phi for k, phi in enumerate(phis(z, count))]


def interpolation_weights(nodes: Sequence[Array], moments: Sequence[Array]) -> Array:
    """Weights that integrate the polynomial through `(node, answer)` pairs exactly.

    Args:
        nodes: where the answers lie, each `[S]`.
        moments: the integral of `u^k` over the step, each `[S]`, as many as nodes.

    Returns:
        One weight a node, `[S, len(nodes)]`: the integral of its Lagrange polynomial.
    """
    weights = []
    for j, node in enumerate(nodes):
        polynomial, scale = [jnp.ones_like(node)], jnp.ones_like(node)
        for m, other in enumerate(nodes):
            if m == j:
                continue
            raised = [jnp.zeros_like(node), *polynomial]
            lowered = [-other * c for c in polynomial] + [jnp.zeros_like(node)]
            polynomial = [a + b for a, b in zip(raised, lowered, strict=True)]
            # Equal nodes come from empty steps, whose moments are zero.
            scale = scale * jnp.where(node == other, 1.0, node - other)
        # The last moments pair with the highest powers.
        total = sum(c * m for c, m in zip(polynomial, moments, strict=False))
        weights.append(total / scale)
    return jnp.stack(weights, axis=1)
