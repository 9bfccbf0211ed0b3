"""What every adapter offers."""

from typing import Any, Protocol

from jax import Array


class Adapter(Protocol):
    """Splits a tree of parameters into what is learned and what stays, and joins them again."""

    def init(self, key: Array, params: Any) -> tuple[Any, Any]:
        """`(trainable, frozen)`, such that `merge` gives `params` back before any training.

        Raises:
            ValueError: nothing would be trained.
        """

    def merge(self, trainable: Any, frozen: Any) -> Any:
        """The parameters as the networks take them."""
