"""Editing with any denoiser: image-to-image, inpainting, outpainting, interpolation.

Everything runs through `sample`: an edit is a start, a grid, or a solver that wraps another.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from diffax import gaussian
from diffax.categorical import Process
from diffax.denoiser import Denoiser
from diffax.gaussian import GaussianProcess
from diffax.noun import noun, structure
from diffax.parameterization import Prediction
from diffax.sampling.loop import sample
from diffax.schedules import Point, Schedule
from diffax.schedules.point import along_batch
from diffax.solvers.ddim import DDIM
from diffax.solvers.ddpm import DDPM
from diffax.solvers.inversion import DDIMInversion
from diffax.solvers.keys import Keys, fold_in, initial_noise, normal
from diffax.solvers.solver import Solver

# Out of the reach of the numbers that solvers fold in.
_KNOWN = 2**30
_GAUSSIAN = GaussianProcess()


# ---------------------------------------------------------------- image to image


def shortened(schedule: Schedule, grid: Point, strength: ArrayLike) -> Point:
    """A grid that starts part of the way and keeps its number of intervals.

    As the number stays, other strengths run the same compiled program. The times in between lie
    where the given grid has them, stretched to fit.

    Args:
        schedule: the noise schedule.
        grid: the whole grid, `[S + 1]`.
        strength: share of it to run, in `(0, 1]`; traced. 1 gives the grid back.

    Returns:
        Points `[S + 1]` from `strength` of the way up to the grid's own end.
    """
    if isinstance(strength, int | float) and not 0 < strength <= 1:
        raise ValueError(f"strength should be in (0, 1], got {strength}")
    steps = grid.t.shape[0] - 1
    place = (1 - strength) * steps + strength * jnp.arange(steps, dtype=grid.t.dtype)
    below = jnp.clip(jnp.floor(place).astype(jnp.int32), 0, steps - 1)
    rest = place - below
    times = grid.t[below] + rest * (grid.t[below + 1] - grid.t[below])
    between = schedule.at(times)
    # On the grid's own places its own points stand, whose levels times may not give exactly.
    on_grid = jax.tree.map(lambda f: f[below], grid)
    points = jax.tree.map(lambda own, new: jnp.where(rest == 0, own, new), on_grid, between)
    return jax.tree.map(lambda p, g: jnp.concatenate([p, g[-1:]]), points, grid)


def noised(x0: Array, grid: Point, keys: Array) -> Array:
    """The start of image-to-image (Meng et al. 2022, SDEdit): `x0` noised to the grid's start.

    Args:
        x0: clean data, `[B, ...]`.
        grid: from `shortened`.
        keys: one key a sample, the same as for `sample`.
    """
    eps = initial_noise(keys, x0.shape[1:]).astype(x0.dtype)
    return gaussian.q_sample(x0, eps, grid[0]).astype(x0.dtype)


# ---------------------------------------------------------------- inpainting


# One convention for masks: 1 (white) is made anew, 0 is kept.


@noun
class Inpainting:
    """A solver that keeps a part of an image (Song et al. 2021, score_sde, app. I.2).

    After each of the wrapped solver's steps the kept part is replaced by the known image at that
    noise level (Lugmayr et al. 2022, eq. 8); at the clean end by the image itself. Costs no network
    calls.

    Attributes:
        solver: makes the steps.
        known: the image, `[B, ...]`; what it holds where it is made anew does not matter.
        mask: 1 where the image is made anew and 0 where it is kept, broadcast against `known`;
            traced. Values between mix.
        noise: of the kept part, `[B, ...]`, the same at every step; None: the noise that the start
            has there.
        fresh_noise: noise the kept part anew in each step instead, as RePaint does; False leaves
            deterministic solvers deterministic.
        process: how data become noise.
    """

    solver: Solver
    known: Array
    mask: Array
    noise: Array | None = None
    fresh_noise: bool = structure(default=False)
    process: Process = _GAUSSIAN

    def init(self, x: Array, grid: Point) -> tuple[Any, Array]:
        """The wrapped solver's state, and the noise of the kept part."""
        start = grid[0]
        noise = (x - start.alpha * self.known) / start.sigma if self.noise is None else self.noise
        return self.solver.init(x, grid), noise

    def step(
        self, denoiser: Denoiser, x: Array, state: Any, current: Point, next: Point, keys: Keys
    ) -> tuple[Array, Any]:
        """The wrapped solver's step, then the kept part."""
        inner, eps = state
        x, inner = self.solver.step(denoiser, x, inner, current, next, keys)
        noise = normal(fold_in(keys, _KNOWN), x) if self.fresh_noise else eps
        return put_back(x, self.known, self.mask, noise, next, self.process), (inner, eps)


@noun
class KeptInside:
    """A denoiser that sees the kept part at the right noise level inside a solver's step too.

    Attributes:
        denoiser: what is wrapped.
        known: as in `Inpainting`; likewise `mask` and `noise`.
        mask: see `known`.
        noise: see `known`.
        start: time of the first point, where the state is taken as it is: a run from pure noise
            starts as noise everywhere.
        process: how data become noise.
    """

    denoiser: Denoiser
    known: Array
    mask: Array
    noise: Array
    start: Array
    process: Process = _GAUSSIAN

    def __call__(self, x: Array, point: Point) -> Prediction:
        """The wrapped guess."""
        kept = put_back(x, self.known, self.mask, self.noise, point, self.process)
        return self.denoiser(jnp.where(point.broadcast(x).t < self.start, kept, x), point)


def put_back(
    x: Array,
    known: Array,
    mask: Array,
    noise: Array,
    point: Point,
    process: Process = _GAUSSIAN,
) -> Array:
    """`x` with the kept part as it is at `point`: `mask x + (1 - mask) q(known)`."""
    kept = process.kept(known, noise, point)
    return (mask * x + (1 - mask) * kept).astype(x.dtype)


@noun
class RePaint:
    """RePaint's inpainting (Lugmayr et al. 2022, algorithm 1), on a grid from `repaint_grid`.

    Where the grid goes up, noise is added; where it goes down, the wrapped solver steps and the
    known part is replaced. The wrapped solver must keep no history. Network calls: one solver step
    for each interval that goes down.

    Attributes:
        known: the image, `[B, ...]`.
        mask: 1 where it is made anew, 0 where it is kept.
        solver: makes the steps down; DDPM in the paper.
    """

    known: Array
    mask: Array
    solver: Solver = DDPM()

    def init(self, x: Array, grid: Point) -> Any:
        """The wrapped solver's state."""
        state = self.solver.init(x, grid)
        arrays = [leaf for leaf in jax.tree.leaves(state) if jnp.ndim(leaf) > 0]
        if arrays:
            raise ValueError(
                "RePaint goes up and down, which a solver with a memory of past answers cannot; "
                "use DDPM, DDIM, Euler or Heun"
            )
        return state

    def step(
        self, denoiser: Denoiser, x: Array, state: Any, current: Point, next: Point, keys: Keys
    ) -> tuple[Array, Any]:
        """Down towards the data, or up by fresh noise."""

        def up(_: None) -> tuple[Array, Any]:
            mean, variance = gaussian.step(x, next, current)
            return (mean + jnp.sqrt(variance) * normal(keys, x)).astype(x.dtype), state

        def down(_: None) -> tuple[Array, Any]:
            inpainting = Inpainting(self.solver, self.known, self.mask, fresh_noise=True)
            moved, inner = inpainting.step(
                denoiser, x, (state, jnp.zeros_like(x)), current, next, keys
            )
            return moved, inner[0]

        rises = next.sigma_ratio > current.sigma_ratio
        return jax.lax.cond(rises, up, down, None)


def repaint_grid(grid: Point, jump_length: int = 10, resamplings: int = 10) -> Point:
    """A grid with RePaint's jumps back up (Lugmayr et al. 2022, sec. 4.2 and appendix).

    Args:
        grid: points `[S + 1]` from noise to data.
        jump_length: j, intervals of each jump, less than S.
        resamplings: r, how often each stretch is gone through; 1 is the grid itself.

    Returns:
        Points of the longer walk.
    """
    steps = grid.t.shape[0] - 1
    if not 1 <= jump_length < steps or resamplings < 1:
        raise ValueError(
            f"expected 1 <= jump_length < {steps} (the steps) and resamplings >= 1, "
            f"got {jump_length} and {resamplings}"
        )
    # Heights are counted from the clean end; the last interval is gone through once.
    left = {1 + low: resamplings - 1 for low in range(0, steps - jump_length, jump_length)}
    walk, height = [steps], steps
    while height > 0:
        height -= 1
        walk.append(height)
        if left.get(height, 0) > 0:
            left[height] -= 1
            walk.extend(range(height + 1, height + jump_length + 1))
            height += jump_length
    return grid[steps - np.array(walk)]


def outpainting_canvas(
    image: Array, top: int = 0, bottom: int = 0, left: int = 0, right: int = 0, overlap: int = 0
) -> tuple[Array, Array]:
    """A larger canvas whose new edges repeat the image's, for `Inpainting` or `RePaint`.

    Args:
        image: `[B, H, W, C]`.
        top: rows to add above; likewise `bottom`, and columns `left` and `right`.
        bottom: see `top`.
        left: see `top`.
        right: see `top`.
        overlap: rows or columns inside the old edges that are made anew too.

    Returns:
        `known` `[B, H', W', C]` and `mask` `[1, H', W', 1]`, float32, 1 where it is made anew.

    Raises:
        ValueError: negative margins, or nothing left of the image.
    """
    if min(top, bottom, left, right, overlap) < 0:
        raise ValueError(f"margins should be >= 0, got {(top, bottom, left, right)} and {overlap}")
    margins = ((0, 0), (top, bottom), (left, right), (0, 0))
    inner = [
        slice(overlap * (before > 0), size - overlap * (after > 0))
        for size, (before, after) in zip(image.shape[1:3], margins[1:3], strict=True)
    ]
    kept = jnp.ones((1, *image.shape[1:3], 1), jnp.float32).at[0, inner[0], inner[1]].set(0.0)
    if bool(kept.all()):
        raise ValueError(f"an overlap of {overlap} pixels leaves nothing of the image; lower it")
    return jnp.pad(image, margins, mode="edge"), jnp.pad(kept, margins, constant_values=1)


# ---------------------------------------------------------------- interpolation


def slerp(a: Array, b: Array, weight: ArrayLike) -> Array:
    """Spherical interpolation of noise, each example as one vector (Song et al. 2021, eq. 67).

    Args:
        a: `[B, ...]`.
        b: `[B, ...]`.
        weight: 0 gives a, 1 gives b; scalar or `[B]`.
    """
    weight = along_batch(jnp.asarray(weight, a.dtype), a)
    axes = tuple(range(1, a.ndim))

    def length(x: Array) -> Array:
        return jnp.sqrt(jnp.sum(x**2, axis=axes, keepdims=True))

    cosine = jnp.sum(a * b, axis=axes, keepdims=True) / (length(a) * length(b))
    angle = jnp.arccos(jnp.clip(cosine, -1.0, 1.0))
    # Nearly parallel or opposite vectors have no great circle of their own: go straight.
    straight = jnp.sin(angle) < 1e-4
    sine = jnp.where(straight, 1.0, jnp.sin(angle))
    first = jnp.where(straight, 1 - weight, jnp.sin((1 - weight) * angle) / sine)
    second = jnp.where(straight, weight, jnp.sin(weight * angle) / sine)
    return first * a + second * b


def invert(denoiser: Denoiser, x0: Array, grid: Point, keys: Array, refinements: int = 0) -> Array:
    """The noise from which DDIM on `grid` gives `x0` back; see `DDIMInversion`.

    Args:
        denoiser: guesses x0 and eps.
        x0: clean data, `[B, ...]`.
        grid: points `[S + 1]` from noise to data, as for sampling; they are run the other way.
        keys: one key a sample, `[B]`; DDIM draws nothing from them.
        refinements: fixed-point iterations of every step, >= 0; 0 is plain DDIM inversion.

    Returns:
        The state at `grid[0]`, `[B, ...]`.
    """
    return sample(denoiser, DDIMInversion(refinements), grid[::-1], x0, keys)


def interpolate(
    denoiser: Denoiser,
    a: Array,
    b: Array,
    weights: Array,
    grid: Point,
    keys: Array,
    refinements: int = 0,
) -> Array:
    """Images between two images: both inverted to noise, mixed there, and sampled again.

    Args:
        denoiser: guesses x0 and eps.
        a: one image, `[...]`.
        b: another.
        weights: how far from a to b, `[N]`.
        grid: points from noise to data.
        keys: one key a result, `[N]`; DDIM draws nothing from them.
        refinements: of the inversion.

    Returns:
        `[N, ...]`.
    """
    ends = invert(denoiser, jnp.stack([a, b]), grid, keys[:2], refinements)
    shape = (weights.shape[0], *a.shape)
    start = slerp(jnp.broadcast_to(ends[0], shape), jnp.broadcast_to(ends[1], shape), weights)
    return sample(denoiser, DDIM(0.0), grid, start, keys)
