"""The reverse process: one `lax.scan` of a solver over a grid."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import jax
import jax.numpy as jnp
from jax import Array

from diffax.denoiser import Denoiser
from diffax.schedules import Point


class Solver(Protocol):
    """How one interval of the grid is crossed. A pytree; structure static, numbers traced."""

    def init(self, x: Array, grid: Point) -> Any:
        """The state carried from step to step, from the start `x` and the whole grid."""

    def step(
        self, denoiser: Denoiser, x: Array, state: Any, here: Point, there: Point, keys: Array
    ) -> tuple[Array, Any]:
        """Move `x` from `here` to the cleaner `there`; `keys`, `[B]`, are this step's own."""


def sample(
    denoiser: Denoiser,
    solver: Solver,
    grid: Point,
    x: Array,
    keys: "Array | NoiseTape",
    trajectory: bool = False,
    on_step: Callable[[int, Array, Point], None] | None = None,
) -> Array | tuple[Array, Array]:
    """Run the reverse process from `grid[0]` to `grid[-1]`.

    Everything but shapes and structure is traced: other labels, guidance scales, etas, start
    points or grid values of the same length run the same compiled program.

    Args:
        denoiser: guesses x0 and eps, `(x, point) -> Prediction`.
        solver: how a step is made, such as `DDIM(eta=0.0)`.
        grid: points `[S+1]` from noise to data, see `time_grid`.
        x: the state at `grid[0]`, `[B, ...]`; for pure noise see `initial_noise`.
        keys: one random key a sample, `[B]`, see `sample_keys`. Sample i uses only key i. Or a
            `NoiseTape`, to repeat a run with its own noise.
        trajectory: also return every state; without it memory does not grow with the steps.
        on_step: called on the host as `on_step(index, x, there)` after every step, in order. It
            costs a transfer a step; None costs nothing.

    Returns:
        The samples `[B, ...]`; with `trajectory`, `(samples, states [S, B, ...])`, the last of
        the states being the samples.

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
        >>> jax.jit(diffax.sample)(denoiser, diffax.DDIM(), grid, noise, keys).shape
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

    def advance(carry: tuple[Array, Any], interval: tuple[Array, Point, Point]):
        x, state = carry
        index, here, there = interval
        x, state = solver.step(denoiser, x, state, here, there, fold_in(keys, index))
        if on_step is not None:
            jax.debug.callback(on_step, index, x, there, ordered=True)
        return (x, state), (x if trajectory else None)

    intervals = (jnp.arange(steps), grid[:-1], grid[1:])
    (x, _), states = jax.lax.scan(advance, (x, solver.init(x, grid)), intervals)
    return (x, states) if trajectory else x


def sample_keys(seed: int | Array, num: int, start: int = 0) -> Array:
    """One key a sample, `[num]`: sample i's key depends on `(seed, i)` only.

    Args:
        seed: an integer, or a key.
        num: how many.
        start: index of the first sample, for batches of a longer series.
    """
    is_key = isinstance(seed, jax.Array) and jnp.issubdtype(seed.dtype, jax.dtypes.prng_key)
    key = seed if is_key else jax.random.key(seed)
    return jax.vmap(jax.random.fold_in, (None, 0))(key, start + jnp.arange(num))


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class NoiseTape:
    """Noise given instead of drawn, to repeat another program's run; takes the place of keys.

    Attributes:
        values: what the solver is to add in every step, `[B, S, ...]`. Solvers that draw once a
            step read `values[:, step]`.
    """

    values: Array

    @property
    def shape(self) -> tuple[int, ...]:
        """`[B]`, as keys have."""
        return self.values.shape[:1]


def fold_in(keys: Array | NoiseTape, data: int | Array) -> Array | NoiseTape:
    """`jax.random.fold_in` for every key of a batch, `[B]`; on a tape, the noise of that step."""
    if isinstance(keys, NoiseTape):
        return NoiseTape(keys.values[:, data])
    return jax.vmap(jax.random.fold_in, (0, None))(keys, data)


def normal(keys: Array | NoiseTape, like: Array) -> Array:
    """Standard normal noise shaped and typed like `like` (`[B, ...]`), row i from key i."""
    if isinstance(keys, NoiseTape):
        return keys.values.astype(like.dtype)
    return jax.vmap(lambda key: jax.random.normal(key, like.shape[1:], like.dtype))(keys)


# Steps fold in 0, 1, 2, ...; the start's number is out of their reach.
_START = 2**31 - 1


def initial_noise(keys: Array, shape: tuple[int, ...], start: Point | None = None) -> Array:
    """The state at the noisiest point for every key: float32, `[B, *shape]`.

    Args:
        keys: one key a sample, `[B]`.
        shape: shape of one sample.
        start: the grid's first point, whose `sigma` scales the noise (VE, EDM); None means 1.
    """
    start_keys = fold_in(keys, _START)
    noise = jax.vmap(lambda key: jax.random.normal(key, shape, jnp.float32))(start_keys)
    return noise if start is None else start.sigma.astype(noise.dtype) * noise
