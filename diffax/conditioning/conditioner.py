"""What every conditioner offers."""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from jax import Array

Told = dict[str, Array]
Condition = dict[str, Array]


class Conditioner(Protocol):
    """From what is said to what the network takes. It alone knows what "nothing said" is.

    Attributes:
        reads: columns of a data set that it needs, such as "label".
        asks: fields of a `Request` that it understands, such as "prompt".
        params: parameters of an encoder, `{}` where there are none.
        trained: whether training learns them.
    """

    reads: tuple[str, ...]
    asks: tuple[str, ...]
    params: Any
    trained: bool

    def fitted(self, spec: Any) -> "Conditioner":
        """The conditioner with what it left open taken from the data's `Spec`."""

    def with_params(self, params: Any) -> "Conditioner":
        """The conditioner with its encoder's parameters, where it has one."""

    def init(self, key: Array) -> Any:
        """Fresh parameters of its encoder, `{}` where there is none."""

    def columns(self, batch: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """What the columns of a batch say, as numbers. On the host, in the loader's threads."""

    def request(self, request: Any, num: int) -> tuple[dict[str, np.ndarray], ...]:
        """What a request says for each of `num` samples, and what it is guided away from."""

    def drop(self, key: Array, told: Told) -> Told:
        """Each row replaced by "nothing said" with the conditioner's probability.

        Training with it makes classifier-free guidance possible (Ho & Salimans 2022, alg. 1).
        """

    def encode(self, params: Any, told: Told) -> Condition:
        """The network's condition; pure."""
