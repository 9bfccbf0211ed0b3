"""What every codec offers."""

from typing import Any, ClassVar, Protocol, TypeGuard

import numpy as np
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


class Written(Codec, Protocol):
    """A codec whose data are neither images nor vectors, and have files of their own.

    Attributes:
        kind: what the data are, such as "text" or "audio": the key under which
            `diffax.plotting.DRAWN` knows how they are drawn for a person to look at.
        endings: of the files that they can be written to, the usual one first, such as `(".txt",)`.
    """

    kind: ClassVar[str]
    endings: ClassVar[tuple[str, ...]]

    def to_file(self, data: np.ndarray, ending: str) -> bytes:
        """Samples as the bytes of one file.

        Args:
            data: as `decode` gives them, `[N, ...]`; N = 1 where every sample has its own file.
            ending: one of `endings`.
        """


def is_written(codec: Any) -> TypeGuard[Written]:
    """Whether a codec's data have files of their own: neither images, vectors nor plain arrays."""
    return hasattr(codec, "to_file")
