"""DDIM backwards: from data to the noise that gives them (Song et al. 2021, sec. 4.3)."""

import jax
from jax import Array

from diffax.denoiser import Denoiser
from diffax.noun import noun, structure
from diffax.schedules import Point
from diffax.solvers.description import Description, Name, check_options, whole
from diffax.solvers.ends import positive_alpha
from diffax.solvers.keys import Keys


@noun
class DDIMInversion:
    """DDIM's deterministic step run towards noise, on a grid from data to noise (`grid[::-1]`).

        x' = (alpha' / alpha) x + (sigma' - (alpha' / alpha) sigma) eps(x', t')

    A step asks the network for eps at the level it goes to, first at the state it has (the usual
    approximation), then, `refinements` times, at the state it found: the fixed point is the exact
    inverse of DDIM's step (Pan et al. 2023, AIDI, eq. 7). `1 + refinements` network calls a step.

    Attributes:
        refinements: fixed-point iterations, >= 0; 0 is plain DDIM inversion.
    """

    description = Description(
        names=(
            Name(
                "ddim_inversion",
                "from data to noise, on a grid turned round (grid[::-1])",
                also=("DDIMInverseScheduler",),
            ),
        ),
        paper="Song et al. 2021, sec. 4.3; Pan et al. 2023, eq. 7",
        calls="S (1 + refinements)",
        count=lambda solver, S: S * (1 + solver.refinements),
        options={"refinements": whole("fixed-point iterations of a step of the inversion", 0)},
        backwards=True,
    )

    refinements: int = structure(default=0)

    def __post_init__(self) -> None:
        check_options(self)

    def init(self, x: Array, grid: Point) -> None:
        """No state."""

    def step(
        self, denoiser: Denoiser, x: Array, state: None, current: Point, next: Point, keys: Keys
    ) -> tuple[Array, None]:
        """From the cleaner `current` up to `next`."""
        # The state still has `current`'s amounts of signal and noise.
        eps = denoiser(x, Point(next.t, current.alpha, current.sigma)).eps
        moved = _up(x, eps, current, next)

        def refine(_: Array, moved: Array) -> Array:
            return _up(x, denoiser(moved, next).eps, current, next)

        return jax.lax.fori_loop(0, self.refinements, refine, moved), None


def _up(x: Array, eps: Array, current: Point, next: Point) -> Array:
    ratio = next.alpha / positive_alpha(current)
    return (ratio * x + (next.sigma - ratio * current.sigma) * eps).astype(x.dtype)
