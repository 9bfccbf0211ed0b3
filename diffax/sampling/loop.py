"""The reverse process: one `lax.scan` of a solver over a grid."""

from collections.abc import Callable
from typing import Any, Literal, overload

import jax
import jax.numpy as jnp
from jax import Array

from diffax.denoiser import Denoiser
from diffax.schedules import Point
from diffax.solvers.keys import Keys, fold_in
from diffax.solvers.solver import Solver

OnStep = Callable[[int, Array, Point], None]


@overload
def sample(
    denoiser: Denoiser,
    solver: Solver,
    grid: Point,
    x: Array,
    keys: Keys,
    trajectory: Literal[False] = False,
    on_step: OnStep | None = None,
) -> Array: ...
@overload
def sample(
    denoiser: Denoiser,
    solver: Solver,
    grid: Point,
    x: Array,
    keys: Keys,
    trajectory: Literal[True],
    on_step: OnStep | None = None,
) -> tuple[Array, Array]: ...
def sample(
    denoiser: Denoiser,
    solver: Solver,
    grid: Point,
    x: Array,
    keys: Keys,
    trajectory: bool = False,
    on_step: OnStep | None = None,
) -> Array | tuple[Array, Array]:
    """Run the reverse process from `grid[0]` to `grid[-1]`.

    Everything but shapes and structure is traced: other labels, guidance scales, etas, start
    points or grid values of the same length run the same compiled program. The state is carried in
    float32, or wider, whatever type it is given in: the steps' small differences are lost in less.

    Args:
        denoiser: guesses x0 and eps, `(x, point) -> Prediction`.
        solver: how a step is made, such as `DDIM(eta=0.0)`.
        grid: points `[S+1]` from noise to data, see `time_grid`.
        x: the state at `grid[0]`, `[B, ...]`, of any floating type; for pure noise see
            `initial_noise`.
        keys: one random key a sample, `[B]`, see `sample_keys`. Sample i uses only key i. Or a
            `NoiseTape`, to repeat a run with its own noise.
        trajectory: also return every state; without it memory does not grow with the steps.
        on_step: called on the host as `on_step(index, x, point)` after every step, in order, with
            the step's number from 0, the new state and where it is. It costs a transfer a step;
            None costs nothing.

    Returns:
        The samples `[B, ...]`, of the type of `x`; with `trajectory`, `(samples, states
        [S+1, B, ...])`: a state for every point of the grid, first `x`, last the samples.

    Raises:
        ValueError: the grid has no interval, or there is not one key a sample.

    Example:
        >>> import jax.numpy as jnp, diffax
        >>> schedule = diffax.schedules.cosine(1000)
        >>> shrink = lambda params, x, t, condition: params * x
        >>> denoiser = diffax.Network(shrink, 0.5, None, diffax.parameterization.Eps())
        >>> grid = diffax.time_grid(schedule, steps=10)
        >>> keys = diffax.sample_keys(seed=0, num=4)
        >>> noise = diffax.initial_noise(keys, (2,))
        >>> jax.jit(diffax.sample)(denoiser, diffax.solvers.DDIM(), grid, noise, keys).shape
        (4, 2)
    """
    steps = grid.t.shape[0] - 1
    if steps < 1:
        raise ValueError(f"a grid needs at least 2 points, got {steps + 1}; ask for steps >= 1")
    if keys.shape[:1] != x.shape[:1]:
        raise ValueError(
            f"expected one key a sample, {x.shape[0]}, got keys of shape {keys.shape}; "
            "see diffax.sample_keys"
        )

    start, dtype = x, x.dtype
    if jnp.issubdtype(dtype, jnp.floating):
        x = x.astype(jnp.promote_types(dtype, jnp.float32))

    def advance(carry: tuple[Array, Any], interval: tuple[Array, Point, Point]) -> tuple[Any, Any]:
        x, state = carry
        index, current, next = interval
        x, state = solver.step(denoiser, x, state, current, next, fold_in(keys, index))
        if on_step is not None:
            jax.debug.callback(on_step, index, x.astype(dtype), next, ordered=True)
        return (x, state), (x.astype(dtype) if trajectory else None)

    intervals = (jnp.arange(steps), grid[:-1], grid[1:])
    (x, _), states = jax.lax.scan(advance, (x, solver.init(x, grid)), intervals)
    x = x.astype(dtype)
    return (x, jnp.concatenate([start[None], states])) if trajectory else x
