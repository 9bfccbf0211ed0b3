"""No condition at all."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from jax import Array

from diffax.noun import noun


@noun
class Nothing:
    """Networks that are told nothing besides `x` and `t`."""

    reads: ClassVar[tuple[str, ...]] = ()
    asks: ClassVar[tuple[str, ...]] = ()
    params: ClassVar[dict] = {}
    trained: ClassVar[bool] = False

    def fitted(self, spec: Any) -> "Nothing":
        """Itself."""
        return self

    def init(self, key: Array) -> dict:
        """Nothing."""
        return {}

    def columns(self, batch: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Nothing."""
        return {}

    def request(self, request: Any, num: int) -> tuple[dict, dict]:
        """Nothing, and nothing to be guided away from."""
        return {}, {}

    def drop(self, key: Array, told: dict[str, Array]) -> dict[str, Array]:
        """Nothing."""
        return told

    def encode(self, params: Any, told: dict[str, Array]) -> dict[str, Array]:
        """`{}`."""
        return {}
