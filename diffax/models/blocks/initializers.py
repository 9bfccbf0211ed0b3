"""Where parameters begin, in ways that Flax has no name for."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

Initializer = Callable[..., jax.Array]


def uniform_within(bound: float) -> Initializer:
    """Initialiser: uniform within -bound ... bound."""

    def init(key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return init


def fan_in_bias(kernel: tuple[int, ...]) -> Initializer:
    """Initialiser: uniform within 1 / sqrt(fan-in), where PyTorch's biases begin.

    Args:
        kernel: shape of the kernel that the bias goes with, `[..., C_in, C_out]`.

    Example:
        >>> bias = fan_in_bias((3, 3, 4, 8))(jax.random.key(0), (8,))
        >>> bool(0 < abs(bias).max() < 1 / 6)
        True
    """
    return uniform_within(math.prod(kernel[:-1]) ** -0.5)
