"""How different two images look, without a network that was trained for it."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import jax.numpy as jnp
from jax import Array


@dataclass(frozen=True)
class Gradients:
    """Differences of image gradients on several scales: edges where edges belong.

    A stand-in for a perceptual network where no weights are at hand: it knows blur and ringing, it
    knows nothing of textures.
    """

    weight: float = 1.0
    """Beside the reconstruction, >= 0."""
    scales: int = 3
    """Each half as large as the one before, 1 to 8; fewer where the image is too small."""

    path: ClassVar[None] = None

    def __post_init__(self) -> None:
        """Checks every number."""
        if not (self.weight >= 0 and math.isfinite(self.weight)):
            raise ValueError(f"perceptual.weight must be >= 0 and finite, got {self.weight}")
        if not 1 <= self.scales <= 8:
            raise ValueError(f"perceptual.scales must lie in 1 to 8, got {self.scales}")

    def open(self) -> Any:
        """No parameters."""
        return {}

    def __call__(self, params: Any, a: Array, b: Array) -> Array:
        """Mean absolute difference of the gradients, over both axes and all scales.

        Args:
            params: `{}`.
            a: images `[B, H, W, C]` in [-1, 1].
            b: likewise.

        Returns:
            float32 scalar.
        """
        difference = a - b  # taking gradients is linear
        total, count = jnp.float32(0), 0
        for _ in range(self.scales):
            if min(difference.shape[1:3]) < 2:
                break
            for axis in (1, 2):
                slope = jnp.diff(difference, axis=axis)
                total += jnp.mean(jnp.abs(slope), dtype=jnp.float32)
                count += 1
            difference = _halved(difference)
        return total / max(count, 1)


def _halved(x: Array) -> Array:
    """Means of 2 x 2 squares; an odd last row or column is left out."""
    height, width = (n // 2 * 2 for n in x.shape[1:3])
    x = x[:, :height, :width]
    return x.reshape(len(x), height // 2, 2, width // 2, 2, x.shape[-1]).mean((2, 4))


PERCEPTUAL: dict[str, type] = {"gradients": Gradients}
