"""DDIM backwards: from data to the noise that gives them (Song et al. 2021, sec. 4.3)."""

import jax
from jax import Array

from diffax.denoiser import Denoiser
from diffax.noun import noun, structure
from diffax.schedules import Point
from diffax.solvers.dpm_solver import positive_alpha


@noun
class DDIMInversion:
    """DDIM's deterministic step run towards noise, on a grid from data to noise (`grid[::-1]`).

    A step asks the network for eps at the level it goes to, first at the state it has (the usual
    approximation), then, `refinements` times, at the state it found: the fixed point is the exact
    inverse of DDIM's step (Pan et al. 2023, AIDI, eq. 7). `1 + refinements` network calls a step.

    Attributes:
        refinements: fixed-point iterations; 0 is plain DDIM inversion.
    """

    refinements: int = structure(0)

    def init(self, x: Array, grid: Point) -> None:
        """No state."""

    def step(
        self, denoiser: Denoiser, x: Array, state: None, here: Point, there: Point, keys: Array
    ) -> tuple[Array, None]:
        """From the cleaner `here` up to `there`."""
        # The state still has `here`'s amounts of signal and noise.
        eps = denoiser(x, Point(there.t, here.alpha, here.sigma)).eps
        moved = _up(x, eps, here, there)

        def refine(_, moved: Array) -> Array:
            return _up(x, denoiser(moved, there).eps, here, there)

        return jax.lax.fori_loop(0, self.refinements, refine, moved), None


def _up(x: Array, eps: Array, here: Point, there: Point) -> Array:
    ratio = there.alpha / positive_alpha(here)
    return (ratio * x + (there.sigma - ratio * here.sigma) * eps).astype(x.dtype)
