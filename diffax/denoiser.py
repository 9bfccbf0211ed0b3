"""A denoiser: `(x_t, point) -> Prediction`. A network with its parameters and condition is one."""

from collections.abc import Callable
from typing import Any, Protocol

import jax.numpy as jnp
from jax import Array

from diffax.noun import noun, structure
from diffax.parameterization import Parameterization, Prediction
from diffax.schedules import Point


class Denoiser(Protocol):
    """Anything that guesses the clean data: a pytree that can be called."""

    def __call__(self, x: Array, point: Point) -> Prediction:
        """Guess x0 and eps from `x` (`[B, ...]`) at a scalar or `[B]` point."""


@noun
class Network:
    """A network, its parameters, its condition, and what it was asked for.

    Attributes:
        apply: `(params, x, t, condition) -> output`, such as a Flax module's `apply`; static.
        params: the network's parameters.
        condition: what the network is told besides `x` and `t`: labels, text, None.
        parameterization: what its output means.

    Example:
        >>> from diffax import parameterization, schedules
        >>> shrink = lambda params, x, t, condition: params * x
        >>> denoiser = Network(shrink, 0.5, None, parameterization.Eps())
        >>> denoiser(jnp.ones((2, 3)), schedules.linear(10).at(5)).eps.shape
        (2, 3)
    """

    apply: Callable[..., Array] = structure()
    params: Any
    condition: Any
    parameterization: Parameterization

    def __call__(self, x: Array, point: Point) -> Prediction:
        """Guess x0 and eps from `x` (`[B, ...]`) at a scalar or `[B]` point."""
        shown, t = self.parameterization.network_input(x, point)
        t = jnp.broadcast_to(t, x.shape[:1])
        output = self.apply(self.params, shown, t, self.condition)
        return self.parameterization.read(output, x, point)
