"""Predictor-corrector sampling with Langevin dynamics (Song et al. 2021, score_sde)."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from diffax.denoiser import Denoiser
from diffax.noun import noun, number, structure
from diffax.schedules import Point
from diffax.solvers.ddpm import DDPM
from diffax.solvers.description import Description, Name, check_options, real, whole
from diffax.solvers.keys import Keys, fold_in, normal
from diffax.solvers.solver import Solver


@noun
class PredictorCorrector:
    """Langevin corrections at each level, then a predictor's step (Song et al. 2021, alg. 1).

    The corrector's step size keeps the ratio of drift to noise at `snr` (algorithms 4 and 5), for
    each sample by itself; it is meant for data of many dimensions. `corrections` network calls a
    step beside the predictor's; stochastic.

    Attributes:
        predictor: how the level is lowered; the reverse-diffusion step is DDPM's.
        snr: the corrector's signal-to-noise ratio `r`, > 0; 0.16 in the paper for VE, 0.01 for deep
            VP; traced.
        corrections: Langevin steps a level, >= 0.
    """

    description = Description(
        names=(Name("langevin", "predictor-corrector with Langevin steps (score_sde)"),),
        paper="Song et al. 2021 (score_sde), alg. 1, 4, 5",
        calls="S (1 + corrections)",
        count=lambda solver, S: S * (1 + solver.corrections),
        stochastic=True,
        options={
            "snr": real("signal-to-noise ratio of a Langevin step", ends="()"),
            "corrections": whole("Langevin steps at each level", 0),
        },
    )

    predictor: Solver = DDPM()
    snr: ArrayLike = number(default=0.16)
    corrections: int = structure(default=1)

    def __post_init__(self) -> None:
        check_options(self)

    def init(self, x: Array, grid: Point) -> Any:
        """The predictor's state."""
        return self.predictor.init(x, grid)

    def step(
        self, denoiser: Denoiser, x: Array, state: Any, current: Point, next: Point, keys: Keys
    ) -> tuple[Array, Any]:
        """Correct at `current`, then predict `next`."""

        def correct(number: Array, x: Array) -> Array:
            return langevin_step(denoiser, x, current, self.snr, fold_in(keys, 1 + number))

        x = jax.lax.fori_loop(0, self.corrections, correct, x)
        return self.predictor.step(denoiser, x, state, current, next, fold_in(keys, 0))


def langevin_step(denoiser: Denoiser, x: Array, at: Point, snr: ArrayLike, keys: Keys) -> Array:
    """One step of Langevin dynamics towards `p(x_t)` (Song et al. 2021, algorithm 4, lines 4-7).

        x' = x + e score + sqrt(2 e) z,    e = 2 (r |z| / |score|)^2

    Args:
        denoiser: guesses eps; the score is `-eps / sigma`.
        x: states at `at`, `[B, ...]`.
        at: the point, scalar.
        snr: the paper's r.
        keys: one key a sample.
    """
    score = -denoiser(x, at).eps / at.sigma
    # The expected norm of the noise, sqrt(D), stands for its norm: a step size that depended on the
    # noise itself would bias the walk.
    axes = tuple(range(1, x.ndim))
    square = jnp.sum(score**2, axis=axes, keepdims=True)
    size = 2 * snr**2 * (x.size // x.shape[0]) / square
    return (x + size * score + jnp.sqrt(2 * size) * normal(keys, x)).astype(x.dtype)
