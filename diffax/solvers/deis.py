"""DEIS: exponential integration with a polynomial in log(sigma / alpha) (Zhang & Chen 2023)."""

from jax import Array

from diffax.denoiser import Denoiser
from diffax.noun import noun, structure
from diffax.schedules import Point
from diffax.solvers.description import Description, Name, check_options, flag, whole
from diffax.solvers.dpm_solver import DPMSolver
from diffax.solvers.keys import Keys
from diffax.solvers.multistep import MultistepState


@noun
class DEIS:
    """tAB-DEIS in log-rho, order 1 to 3 (Zhang & Chen 2023, eq. 15). One network call a step.

        x' = alpha' (x / alpha + int_rho^rho' eps(r) dr),    rho = sigma / alpha

    with eps the polynomial in `log rho` through the last answers, integrated exactly. As
    `log rho = -lambda`, this is the exact-integral form of multistep DPM-Solver.

    Attributes:
        order: number of answers used; 1 is DDIM.
        lower_order_final: lower the order over the last steps of runs under 15 steps.
    """

    description = Description(
        names=(
            Name(
                "deis",
                "exponential integrator, polynomial in log sigma (Zhang & Chen 2023)",
                also=("DEISMultistepScheduler",),
            ),
        ),
        paper="Zhang & Chen 2023, eq. 15 (tAB in log rho)",
        order=lambda solver: solver.order,
        options={
            "order": whole("number of answers used", 1, 3),
            "lower_order_final": flag("lower the order over the last steps"),
        },
    )

    order: int = structure(default=2)
    lower_order_final: bool = structure(default=True)

    def __post_init__(self) -> None:
        check_options(self)

    @property
    def _solver(self) -> DPMSolver:
        return DPMSolver(self.order, "heun", self.lower_order_final)

    def init(self, x: Array, grid: Point) -> MultistepState:
        """The table of weights."""
        return self._solver.init(x, grid)

    def step(
        self,
        denoiser: Denoiser,
        x: Array,
        state: MultistepState,
        current: Point,
        next: Point,
        keys: Keys,
    ) -> tuple[Array, MultistepState]:
        """Extrapolate eps from the last answers and integrate."""
        return self._solver.step(denoiser, x, state, current, next, keys)
