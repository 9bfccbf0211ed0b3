"""How large the loss is at each noise level, learned, so that all levels count alike."""

import math

import jax
import jax.numpy as jnp
from jax import Array

from diffax.noun import check_range, noun, structure
from diffax.schedules import Point

_CLOSEST = 1e-6  # to a clean or pure end, whose log-SNR is infinite


@noun
class Uncertainty:
    """A learned log-variance `u` of each noise level (Karras et al. 2024, eq. 21-22).

        loss = weighted / e^u + u

    Its minimum has `e^u` the mean of `weighted` at the level: all levels' gradients are scaled
    alike, whatever the weighting, and go on being so while training. `u` is linear in waves of
    `log(sigma / alpha) / 4` of fixed random frequencies, and begins as zero.

    Attributes:
        waves: how many, >= 1; 128 in the paper.

    Example:
        >>> from diffax import schedules
        >>> head, point = Uncertainty(waves=8), schedules.cosine(10).at(jnp.arange(3))
        >>> head.log_variance(head.init(), point).tolist()
        [0.0, 0.0, 0.0]
    """

    waves: int = structure(default=128)

    def __post_init__(self) -> None:
        """Checks the number."""
        check_range("uncertainty.waves", self.waves, least=1)

    def init(self) -> dict[str, Array]:
        """What is learned, at the start of training."""
        return {"weights": jnp.zeros(self.waves)}

    def log_variance(self, params: dict[str, Array], point: Point) -> Array:
        """`u` at a batch of points, `[B]`."""
        frequency_key, phase_key = jax.random.split(jax.random.key(0))
        frequency = 2 * math.pi * jax.random.normal(frequency_key, (self.waves,))
        phase = 2 * math.pi * jax.random.uniform(phase_key, (self.waves,))
        ratio = jnp.maximum(point.sigma, _CLOSEST) / jnp.maximum(point.alpha, _CLOSEST)
        level = jnp.log(ratio)[:, None] / 4
        waves = math.sqrt(2) * jnp.cos(level * frequency[None] + phase[None])
        return waves @ params["weights"] / math.sqrt(self.waves)
