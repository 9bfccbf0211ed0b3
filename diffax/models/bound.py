"""A network with its parameters."""

from typing import Any

import flax.linen as nn

from diffax.noun import noun, structure


@noun
class BoundModule:
    """A Flax module and its parameters, as one pytree that can be called.

    Attributes:
        module: the network; static.
        params: `{"params": ...}`, as `module.init` makes them.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> dense = nn.Dense(3)
        >>> network = BoundModule(dense, dense.init(jax.random.key(0), jnp.ones((1, 2))))
        >>> network(jnp.ones((4, 2))).shape
        (4, 3)
    """

    module: nn.Module = structure()
    params: Any

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """`module.apply` with the parameters."""
        return self.module.apply(self.params, *args, **kwargs)
