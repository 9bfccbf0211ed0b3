"""Training everything, or the parameters with certain names."""

from typing import Any

from jax import Array

from diffax.adapters.paths import flat, matching, nested
from diffax.noun import noun, structure


@noun
class Everything:
    """All parameters are learned."""

    def init(self, key: Array, params: Any) -> tuple[Any, Any]:
        """`(params, {})`."""
        return params, {}

    def merge(self, trainable: Any, frozen: Any) -> Any:
        """What is learned."""
        return trainable


@noun
class Subset:
    """The parameters whose name matches are learned; all others stay.

    Attributes:
        pattern: a regular expression, searched for in names such as
            `params/mid_block/attentions_0/to_q/kernel`.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> tree = {"a": {"kernel": jnp.ones(2)}, "b": {"kernel": jnp.zeros(2)}}
        >>> trainable, frozen = Subset("^a/").init(jax.random.key(0), tree)
        >>> sorted(trainable), sorted(frozen)
        (['a'], ['b'])
    """

    pattern: str = structure(default="attn2")

    def init(self, key: Array, params: Any) -> tuple[Any, Any]:
        """The matching parameters, and the others."""
        leaves = flat(params)
        chosen = matching(leaves, self.pattern, "adapter.pattern")
        return (
            nested({name: leaf for name, leaf in leaves.items() if name in chosen}),
            nested({name: leaf for name, leaf in leaves.items() if name not in chosen}),
        )

    def merge(self, trainable: Any, frozen: Any) -> Any:
        """Both together."""
        return nested(flat(frozen) | flat(trainable))
