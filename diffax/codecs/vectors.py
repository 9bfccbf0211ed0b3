"""Vectors, sequences and other arrays of floats."""

import math
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
from jax import Array

from diffax.noun import noun

_Numbers = float | tuple[float, ...]  # one, or one for each entry of the last axis


@noun
class Identity:
    """The data as they are, float32."""

    params: ClassVar[dict] = {}

    def fitted(self, spec: Any) -> "Identity":
        """Itself."""
        return self

    def encode(self, raw: Array, key: Array | None = None) -> Array:
        """`raw`."""
        return raw.astype(jnp.float32)

    def decode(self, x: Array) -> Array:
        """`x`."""
        return x

    def log_stretch(self, raw: tuple[int, ...]) -> float:
        """0."""
        return 0.0

    def shape(self, raw: tuple[int, ...]) -> tuple[int, ...]:
        """The data's own."""
        return raw


@noun
class Standardize:
    """`x0 = (raw - mean) / std`, entry by entry of the last axis.

    Attributes:
        mean: a number, or one for each entry of the last axis; None: measured on the data.
        std: likewise, > 0.

    Example:
        >>> Standardize(mean=1.0, std=2.0).encode(jnp.array([[5.0]])).item()
        2.0
    """

    mean: _Numbers | None = None
    std: _Numbers | None = None
    params: ClassVar[dict] = {}

    def __post_init__(self) -> None:
        """Refuses a scale that cannot be divided by."""
        for value in self.std if isinstance(self.std, tuple) else (self.std,):
            if isinstance(value, int | float) and not value > 0:
                raise ValueError(f"codec std must be > 0, got {value}")

    def fitted(self, spec: Any) -> "Standardize":
        """With the data's mean and standard deviation where none were given.

        Raises:
            ValueError: the data set measured none, as for images.
        """
        if self.mean is not None and self.std is not None:
            return self
        if spec.mean is None:
            raise ValueError(
                f"codec standardize is for float data, the data are {spec.columns['x'].dtype}; "
                "use pixels"
            )
        mean = spec.mean if self.mean is None else self.mean
        return Standardize(mean, spec.std if self.std is None else self.std)

    def encode(self, raw: Array, key: Array | None = None) -> Array:
        """`(raw - mean) / std`."""
        mean, std = (_along_last(value, raw.ndim) for value in self._numbers())
        return (raw.astype(jnp.float32) - mean) / std

    def decode(self, x: Array) -> Array:
        """`x std + mean`."""
        mean, std = (_along_last(value, x.ndim) for value in self._numbers())
        return x * std + mean

    def shape(self, raw: tuple[int, ...]) -> tuple[int, ...]:
        """The data's own."""
        return raw

    def log_stretch(self, raw: tuple[int, ...]) -> float:
        """Minus the sum of log std over the entries of an example."""
        each = -np.sum(np.log(np.asarray(self._numbers()[1], np.float64)))
        last = raw[-1] if np.ndim(self._numbers()[1]) else 1
        return float(each) * math.prod(raw) / last

    def _numbers(self) -> tuple[_Numbers, _Numbers]:
        if self.mean is None or self.std is None:
            raise ValueError("codec standardize has no mean or std yet: give both, or use fitted")
        return self.mean, self.std


def _along_last(value: _Numbers, rank: int) -> Array:
    """A number, or one for each entry of the last axis, to be broadcast against `[..., D]`."""
    numbers = jnp.asarray(value, jnp.float32)
    return numbers.reshape((1,) * (rank - 1) + (-1,)) if numbers.ndim else numbers
