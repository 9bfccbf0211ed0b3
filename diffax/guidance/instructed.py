"""Guidance by a text and an image with a scale for each."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from diffax.denoiser import Network
from diffax.noun import check_range, noun, number
from diffax.parameterization import Prediction
from diffax.schedules import Point


@noun
class Instructed:
    """`e(0, 0) + s_I (e(I, 0) - e(0, 0)) + s_T (e(I, T) - e(I, 0))` (Brooks et al. 2023, eq. 3).

    I is the image to be edited, T the instruction, 0 neither. x0 is mixed alike. One network call
    on three times the batch.

    Attributes:
        network: told the image and the instruction.
        image_only: the condition without the instruction, shaped like `network.condition`.
        nothing: the condition without both.
        scale: s_T, scalar; 1 or more.
        image_scale: s_I, scalar; 1 or more.
    """

    network: Network
    image_only: Any
    nothing: Any
    scale: ArrayLike = number(default=7.5)
    image_scale: ArrayLike = number(default=1.5)

    def __post_init__(self) -> None:
        """Checks plain numbers."""
        check_range("scale", self.scale)
        check_range("image_scale", self.image_scale)

    def __call__(self, x: Array, point: Point) -> Prediction:
        """The guided guess."""
        own, size = self.network, x.shape[0]
        told = jax.tree.map(
            lambda *rows: jnp.concatenate([jnp.asarray(row) for row in rows]),
            *(own.condition, self.image_only, self.nothing),
        )
        thrice = point if jnp.ndim(point.t) == 0 else jax.tree.map(lambda f: jnp.tile(f, 3), point)
        network = Network(own.apply, own.params, told, own.parameterization)
        guess = network(jnp.concatenate([x] * 3), thrice)
        both, image, nothing = (
            jax.tree.map(lambda f, i=i: f[i * size : (i + 1) * size], guess) for i in range(3)
        )

        def mix(b: Array, i: Array, n: Array) -> Array:
            return n + self.image_scale * (i - n) + self.scale * (b - i)

        x0, eps = mix(both.x0, image.x0, nothing.x0), mix(both.eps, image.eps, nothing.eps)
        return Prediction(x0, eps, both.log_variance)
