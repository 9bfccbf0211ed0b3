"""Images as they are: 8-bit levels <-> [-1, 1]."""

import math
from typing import Any, ClassVar

import jax.numpy as jnp
from jax import Array

from diffax import image_range
from diffax.noun import noun


@noun
class Pixels:
    """uint8 0..255 <-> float32 in [-1, 1]; images that are floats already pass through.

    Example:
        >>> Pixels().encode(jnp.array([[0, 255]], jnp.uint8)).tolist()
        [[-1.0, 1.0]]
    """

    params: ClassVar[dict] = {}

    def fitted(self, spec: Any) -> "Pixels":
        """Itself.

        Raises:
            ValueError: the data are no 8-bit images.
        """
        column = spec.columns["x"]
        if column.dtype != "uint8":
            raise ValueError(
                f"codec pixels is for uint8 images, the data are {column.dtype} "
                f"{list(column.shape)}; use standardize"
            )
        return self

    def encode(self, raw: Array, key: Array | None = None) -> Array:
        """`raw / 127.5 - 1` where raw is uint8."""
        return image_range.to_float(raw) if raw.dtype == jnp.uint8 else raw

    def decode(self, x: Array) -> Array:
        """`x`, clipped to [-1, 1]."""
        return jnp.clip(x, -1.0, 1.0)

    def log_stretch(self, raw: tuple[int, ...]) -> float:
        """`-D log 127.5` for examples of D entries: from levels to [-1, 1]."""
        return -math.prod(raw) * math.log(127.5)

    def shape(self, raw: tuple[int, ...]) -> tuple[int, ...]:
        """The image's own."""
        return raw
