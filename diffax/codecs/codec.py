"""What every codec offers."""

from typing import Any, Protocol

from jax import Array


class Codec(Protocol):
    """Raw data <-> model space. A pytree; what it has learned are its leaves.

    A codec that can be undone says how much it stretches space, for likelihoods of the data:
    `log_stretch(shape of one raw example)` is `log |d encode / d raw|` in nats.

    Attributes:
        params: parameters, `{}` where there are none.
    """

    params: Any

    def fitted(self, spec: Any) -> "Codec":
        """The codec with whatever it left open taken from the data's `Spec`."""

    def with_params(self, params: Any) -> "Codec":
        """The codec with other parameters, where it has any."""

    def encode(self, raw: Array, key: Array | None = None) -> Array:
        """Data as a data set gives them, `[B, ...]`, in model space, float32.

        Args:
            raw: a batch of the column "x".
            key: for codecs that draw (a posterior's sample); None: its mean.
        """

    def decode(self, x: Array) -> Array:
        """Model space, `[B, ...]`, as data: images float32 in [-1, 1], all else as it came."""

    def shape(self, raw: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of one example in model space, from that of its raw data."""
