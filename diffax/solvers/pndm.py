"""PNDM: pseudo numerical methods on DDIM's transfer map (Liu et al. 2022)."""

import jax
import jax.numpy as jnp
from jax import Array

from diffax.denoiser import Denoiser
from diffax.noun import noun, structure
from diffax.schedules import Point, Schedule
from diffax.solvers.description import (
    Description,
    Name,
    Option,
    check_options,
    check_schedule,
    choice,
    schedule_of,
)
from diffax.solvers.ends import positive_alpha
from diffax.solvers.keys import Keys
from diffax.solvers.multistep import remember


@noun
class PNDMState:
    """Number of the step and the answers so far, newest first `[4, B, ...]`."""

    index: Array
    answers: Array


@noun
class PLMS:
    """Pseudo linear multistep (Liu et al. 2022, eq. 12), Stable Diffusion's first sampler.

        eps' = (55 e_t - 59 e_(t-d) + 37 e_(t-2d) - 9 e_(t-3d)) / 24,    x' = phi(x, eps', t, t')

    Adams-Bashforth weights, order 1 to 4 as answers come in, mix the last eps; DDIM's transfer map
    (eq. 9) carries the mix. The first step is done again with the mean of the eps at both its ends.
    The constant weights suit grids evenly spaced in t. One network call a step, `S + 1` in all.

    Attributes:
        mixes: `eps`, or `v` to mix the answers of a v-predicting network before they are read, as
            diffusers does.
    """

    description = Description(
        names=(Name("plms", "pseudo linear multistep, Stable Diffusion's first sampler"),),
        paper="Liu et al. 2022, eq. 12",
        order=2,
        calls="S + 1",
        count=lambda solver, S: S + 1,
        options={"mixes": choice("answers that are mixed", "eps", "v")},
    )

    mixes: str = structure(default="eps")

    def __post_init__(self) -> None:
        check_options(self)

    def init(self, x: Array, grid: Point) -> PNDMState:
        """No answers yet."""
        return _initial_state(x, grid)

    def step(
        self,
        denoiser: Denoiser,
        x: Array,
        state: PNDMState,
        current: Point,
        next: Point,
        keys: Keys,
    ) -> tuple[Array, PNDMState]:
        """Mix the last answers and transfer."""
        first = _answer(denoiser, x, current, self.mixes)
        answers = remember(state.answers, first)

        def ask_ahead() -> Array:
            return _answer(
                denoiser, _transfer(x, first, current, next, self.mixes), next, self.mixes
            )

        def first_step(_: None) -> Array:
            # Where the first step goes into the clean end, there is nothing to ask there.
            return (first + jax.lax.cond(next.sigma > 0, ask_ahead, lambda: first)) / 2

        mixed = jax.lax.cond(
            state.index == 0, first_step, lambda _: _adams_bashforth(answers, state.index), None
        )
        moved = _transfer(x, mixed, current, next, self.mixes)
        return moved, PNDMState(state.index + 1, answers)


@noun
class PNDM:
    """F-PNDM: three pseudo Runge-Kutta steps, then PLMS (Liu et al. 2022, alg. 2 and eq. 12-13).

        eps' = (e_1 + 2 e_2 + 2 e_3 + e_4) / 6,    x' = phi(x, eps', t, t')
        e_1 at x; e_2 at phi(x, e_1, t, mid); e_3 at phi(x, e_2, t, mid); e_4 at phi(x, e_3, t, t')

    Four network calls in each of the first three steps, one in the others: `S + 9` in all.

    Attributes:
        schedule: gives the middle of the Runge-Kutta steps, halfway in t; needed when it steps.
        mixes: as in `PLMS`.
        stride: distance in t from a Runge-Kutta step's end to its middle, where it should not be
            half the step (diffusers rounds `T // S // 2`); >= 0; None is half.
    """

    description = Description(
        names=(
            Name(
                "pndm", "pseudo Runge-Kutta, then PLMS (Liu et al. 2022)", also=("PNDMScheduler",)
            ),
        ),
        paper="Liu et al. 2022, alg. 2",
        order=2,
        calls="S + 9",
        count=lambda solver, S: S + 9,
        options={
            "mixes": choice("answers that are mixed", "eps", "v"),
            "stride": Option(
                float, "distance in t to a Runge-Kutta step's middle", ends="[)", optional=True
            ),
        },
        needs_schedule=True,
        least_steps=4,
    )

    schedule: Schedule | None = None
    mixes: str = structure(default="eps")
    stride: float | None = structure(default=None)

    def __post_init__(self) -> None:
        check_options(self)

    def init(self, x: Array, grid: Point) -> PNDMState:
        """No answers yet."""
        check_schedule(self)
        steps = grid.t.shape[0] - 1
        if steps < 4:
            raise ValueError(f"PNDM needs at least 4 steps, got {steps}; use PLMS for fewer")
        return _initial_state(x, grid)

    def step(
        self,
        denoiser: Denoiser,
        x: Array,
        state: PNDMState,
        current: Point,
        next: Point,
        keys: Keys,
    ) -> tuple[Array, PNDMState]:
        """Runge-Kutta at first, then the mix of the last answers."""
        first = _answer(denoiser, x, current, self.mixes)
        answers = remember(state.answers, first)

        def runge_kutta(_: None) -> Array:
            half = (current.t - next.t) / 2 if self.stride is None else self.stride
            middle = schedule_of(self).at(next.t + half)
            # Where the stride is not half the step the first answer is carried so far down from
            # the step's start, and the network is told the middle's time all the same.
            reached = schedule_of(self).at(current.t - half)

            def ask(answer: Array, at: Point) -> Array:
                return _answer(
                    denoiser, _transfer(x, answer, current, at, self.mixes), at, self.mixes
                )

            second = ask(first, Point(middle.t, reached.alpha, reached.sigma))
            third = ask(second, middle)
            fourth = ask(third, next)
            return (first + 2 * second + 2 * third + fourth) / 6

        mixed = jax.lax.cond(
            state.index < 3, runge_kutta, lambda _: _adams_bashforth(answers, state.index), None
        )
        moved = _transfer(x, mixed, current, next, self.mixes)
        return moved, PNDMState(state.index + 1, answers)


# Adams-Bashforth on evenly spaced answers, newest first.
_WEIGHTS = (
    (1.0, 0.0, 0.0, 0.0),
    (3 / 2, -1 / 2, 0.0, 0.0),
    (23 / 12, -16 / 12, 5 / 12, 0.0),
    (55 / 24, -59 / 24, 37 / 24, -9 / 24),
)


def _initial_state(x: Array, grid: Point) -> PNDMState:
    answers = jnp.zeros((4, *x.shape), jnp.promote_types(x.dtype, grid.alpha.dtype))
    return PNDMState(jnp.zeros((), jnp.int32), answers)


def _adams_bashforth(answers: Array, index: Array) -> Array:
    weights = jnp.asarray(_WEIGHTS, answers.dtype)[jnp.minimum(index, 3)]
    return jnp.tensordot(weights, answers, axes=1)


def _answer(denoiser: Denoiser, x: Array, at: Point, mixes: str) -> Array:
    guess = denoiser(x, at)
    return guess.eps if mixes == "eps" else at.alpha * guess.eps - at.sigma * guess.x0


def _transfer(x: Array, answer: Array, current: Point, next: Point, mixes: str) -> Array:
    """DDIM's map with a given eps (Liu et al. 2022, eq. 9)."""
    eps = answer if mixes == "eps" else current.sigma * x + current.alpha * answer
    ratio = next.alpha / positive_alpha(current)
    return (ratio * x + (next.sigma - ratio * current.sigma) * eps).astype(x.dtype)
