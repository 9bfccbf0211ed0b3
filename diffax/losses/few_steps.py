"""Losses of few-step models: consistency (Song et al. 2023), progressive distillation.

Both compare a student with itself or a teacher at two points of a grid, and know nothing of
networks: students and teachers are denoisers.
"""

import math

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from diffax import gaussian
from diffax.denoiser import Denoiser
from diffax.losses.weightings import Weighting
from diffax.parameterization import Parameterization, Prediction
from diffax.schedules import Point, Schedule
from diffax.schedules.point import along_batch


def consistency_loss(
    student: Denoiser,
    x0: Array,
    key: Array,
    *,
    grid: Point,
    teacher: Denoiser | None = None,
    huber: ArrayLike = 0.00054,
    by_gap: bool = True,
) -> tuple[Array, dict[str, Array]]:
    """How far a consistency model is from being constant along a path of the flow ODE.

        d(f(x_t, t), stopped(f(x_s, s))),    f(x, t) the student's x0,
        d(a, b) = sqrt(|a - b|^2 + c^2) - c,    c = huber sqrt(D)

    for neighbours t, s of a grid. Without a teacher x_s has the data and the noise of x_t
    (consistency training, algorithm 3 of Song et al. 2023); with one it is where a DDIM step of the
    teacher leads (consistency distillation, algorithm 2, which takes a Heun step). The target is
    the student itself instead of its average, the distance the pseudo-Huber one and the weight
    `1 / (k_t - k_s)`, `k = sigma / alpha`, as in Song & Dhariwal 2024, section 3.

    Args:
        student: a consistency model: its x0 at the clean end is x itself.
        x0: clean data, `[B, ...]`.
        key: of times and noise.
        grid: `[N + 1]`, noisiest first, down to the clean end.
        teacher: of the same data and path, or None.
        huber: c for one dimension, > 0.
        by_gap: weigh by `1 / (k_t - k_s)`; needs a grid that begins with some signal.

    Returns:
        The loss, a float32 scalar, and `{"rank", "mse", "weighted"}`, each `[B]`; the rank is the
        place in the grid, in 0 to 1, 1 being noise.
    """
    time_key, noise_key = jax.random.split(key)
    steps = grid.t.shape[0] - 1
    i = jax.random.randint(time_key, x0.shape[:1], 0, steps)
    current, next = grid[i], grid[i + 1]
    eps = jax.random.normal(noise_key, x0.shape, x0.dtype)
    x = gaussian.q_sample(x0, eps, current)
    if teacher is None:
        y = gaussian.q_sample(x0, eps, next)
    else:
        y = teacher(x, current).at(next)
    is_clean = next.sigma == 0
    # Nobody asks the network at the clean end, where f is x; `current` stands in there.
    asked = jax.tree.map(lambda n, c: jnp.where(is_clean, c, n), next, current)
    target = jnp.where(along_batch(is_clean, y), y, student(y, asked).x0)
    squared = _sum_over_example((student(x, current).x0 - jax.lax.stop_gradient(target)) ** 2)
    size = math.prod(x0.shape[1:])
    c = jnp.asarray(huber, jnp.float32) * size**0.5
    # The same as sqrt(s + c^2) - c, without its cancelling.
    distance = squared / (jnp.sqrt(squared + c**2) + c)
    weighted = distance / (current.sigma_ratio - next.sigma_ratio) if by_gap else distance
    rank = 1 - (i + 0.5) / steps
    return jnp.mean(weighted), {"rank": rank, "mse": squared / size, "weighted": weighted}


def progressive_loss(
    student: Denoiser,
    teacher: Denoiser,
    x0: Array,
    key: Array,
    *,
    grid: Point,
    parameterization: Parameterization,
    weighting: Weighting,
    schedule: Schedule,
) -> tuple[Array, dict[str, Array]]:
    """A student's DDIM step against two of its teacher's (Salimans & Ho 2022, algorithm 2).

    Args:
        student: learns to take half as many steps.
        teacher: whose steps they are.
        x0: clean data, `[B, ...]`.
        key: of times and noise.
        grid: of the teacher, `[2 N + 1]`, noisiest first, down to the clean end.
        parameterization: the student's, on whose target the error is measured.
        weighting: of that error; constant on v is the paper's SNR + 1.
        schedule: of the path.

    Returns:
        The loss, a float32 scalar, and `{"rank", "mse", "weighted"}`, each `[B]`; the rank is the
        place in the grid, in 0 to 1, 1 being noise.
    """
    time_key, noise_key = jax.random.split(key)
    steps = (grid.t.shape[0] - 1) // 2
    i = jax.random.randint(time_key, x0.shape[:1], 0, steps)
    current, middle, next = grid[2 * i], grid[2 * i + 1], grid[2 * i + 2]
    x = gaussian.q_sample(x0, jax.random.normal(noise_key, x0.shape, x0.dtype), current)
    wanted = two_steps_as_one(teacher, x, current, middle, next)
    error = student(x, current).x0 - jax.lax.stop_gradient(wanted.x0)
    size = math.prod(x0.shape[1:])
    mse = _sum_over_example(error**2) / size * parameterization.sensitivity(current)
    weighted = mse * weighting(current, parameterization, schedule)
    rank = 1 - (i + 0.5) / steps
    return jnp.mean(weighted), {"rank": rank, "mse": mse, "weighted": weighted}


def two_steps_as_one(
    teacher: Denoiser, x: Array, current: Point, middle: Point, next: Point
) -> Prediction:
    """The guess whose one DDIM step goes where two of the teacher's go.

        x0 = (x'' - (sigma'' / sigma) x) / (alpha'' - (sigma'' / sigma) alpha)

    (Salimans & Ho 2022, appendix G). It divides by alpha'' - (sigma'' / sigma) alpha, which is > 0.

    Args:
        teacher: makes the two steps.
        x: state at `current`, `[B, ...]`.
        current, middle, next: points of the grid, `[B]` or scalars.
    """
    halfway = teacher(x, current).at(middle)
    there = teacher(halfway, middle).at(next)
    at, to = current.broadcast(x), next.broadcast(x)
    shrunk = to.sigma / at.sigma
    guess = (there - shrunk * x) / (to.alpha - shrunk * at.alpha)
    return Prediction(guess, (x - at.alpha * guess) / at.sigma)


def _sum_over_example(x: Array) -> Array:
    return jnp.sum(x, axis=tuple(range(1, x.ndim)), dtype=jnp.float32)
