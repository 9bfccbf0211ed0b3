"""A module's parameters, without a word about how they began once they are there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax


def param(
    module: nn.Module, name: str, init: Callable[..., jax.Array], shape: tuple[int, ...], dtype: Any
) -> jax.Array:
    """`module.param(name, init, shape, dtype)`, of which less is traced.

    Linen's own traces the initialiser whenever the module is called, to compare shapes: an eighth
    of the time that tracing a U-Net takes.

    Args:
        module: inside its compact method.
        name: of the parameter.
        init: `(key, shape, dtype) -> array`.
        shape: the parameter's.
        dtype: of a parameter that is made.

    Raises:
        ValueError: the parameter there is has another shape.

    Example:
        >>> class Scale(nn.Module):
        ...     @nn.compact
        ...     def __call__(self, x):
        ...         return x * param(self, "scale", nn.initializers.ones, x.shape[-1:], x.dtype)
        >>> Scale().apply({"params": {"scale": jax.numpy.full(3, 2.0)}}, jax.numpy.ones(3)).sum()
        Array(6., dtype=float32)
    """
    if module.is_initializing() or not module.has_variable("params", name):
        return module.param(name, init, shape, dtype)
    value = module.get_variable("params", name)
    if value.shape != shape:
        raise ValueError(
            f"{'/'.join((*module.path, name))}: expected a parameter of shape {list(shape)}, got "
            f"{list(value.shape)}; give the network the parameters of one with its widths"
        )
    return value
