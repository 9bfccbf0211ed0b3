"""What a scheduler's network is asked for."""

from collections.abc import Mapping
from typing import Any

from jax import Array

from diffax import parameterization
from diffax.noun import noun
from diffax.parameterization import Parameterization, Prediction
from diffax.schedules import Point


@noun
class NegatedEDM(parameterization.EDM):
    """EDM's preconditioning for a network that answers -F: `c_out` has the other sign.

    diffusers' EDM schedulers call it v-prediction: in their variables `-F` is the v of Salimans &
    Ho 2022 for data of standard deviation `sigma_data`.
    """

    def target(self, x0: Array, eps: Array, point: Point) -> Array:
        """`-(x0 - c_skip x_t / alpha) / c_out`."""
        return -super().target(x0, eps, point)

    def read(self, output: Array, x: Array, point: Point) -> Prediction:
        """`x0 = c_skip x / alpha - c_out output`."""
        return super().read(-output, x, point)


_BY_NAME = {
    "epsilon": parameterization.Eps,
    "sample": parameterization.X0,
    "original_sample": parameterization.X0,
    "v_prediction": parameterization.V,
    "flow_prediction": parameterization.Velocity,
}


def parameterization_of(name: str, options: Mapping[str, Any]) -> Parameterization:
    """How the network's answer is read.

    Raises:
        ValueError: a prediction that EDM's schedulers do not have.
    """
    if name.startswith("FlowMatch"):
        return parameterization.Velocity()
    kind = options["prediction_type"]
    if not name.startswith("EDM"):
        return _BY_NAME[kind]()
    if kind == "epsilon":
        return parameterization.EDM(options["sigma_data"])
    if kind == "v_prediction":
        return NegatedEDM(options["sigma_data"])
    raise ValueError(
        f"prediction_type of {name}: expected epsilon or v_prediction, which EDM's "
        f"preconditioning can read, got {kind!r}"
    )
