"""What every solver offers."""

import dataclasses
from typing import Any, ClassVar, Protocol

from jax import Array

from diffax.denoiser import Denoiser
from diffax.schedules import Point
from diffax.solvers.keys import Keys


class Solver(Protocol):
    """How one interval of the grid is crossed. A noun: structure static, numbers traced.

    The solvers that have a name also have a class attribute `description`; see `Description`.
    """

    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]

    def init(self, x: Array, grid: Point) -> Any:
        """The state carried from step to step, from the start `x` and the whole grid."""

    def step(
        self, denoiser: Denoiser, x: Array, state: Any, current: Point, next: Point, keys: Keys
    ) -> tuple[Array, Any]:
        """Move `x` from `current` to the cleaner `next`; `keys`, `[B]`, are this step's own."""
