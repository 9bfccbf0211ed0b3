"""What the training loop asks of an objective."""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np
from jax import Array

Batch = dict[str, Array]

# The entry of `trainable` whose numbers are assigned and not learned.
ASSIGNED = "assigned"


class Mean(NamedTuple):
    """A metric that is the mean over some examples of every batch: `total / count`."""

    total: Array
    count: Array


class Objective(Protocol):
    """A loss with its parameters. All but `columns` and `loaded` is pure.

    `trainable` is what gradient, optimizer and averages see; `frozen` is what else the loss needs:
    an argument of the compiled step that is never donated and never saved. A checkpoint refers to
    it by the sources it came from and by its fingerprint.

    `trainable["assigned"]`, where there is such an entry, is state that no gradient teaches, such
    as counts and running means: the loss says by `losses.assignment` what it becomes, and the
    optimizer makes it so, outside of clipping, warm-up and decay. It is saved, averaged and left
    out of steps that are skipped as parameters are.

    Attributes:
        loaded: parameters that were read from files, a tree of arrays; `{}` where there are none.
        sources: where they were read from: `{part: path}`.
    """

    loaded: Any
    sources: Mapping[str, str]

    def columns(self, batch: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """A data set's batch as the numbers that `loss` takes. On the host, in many threads."""

    def init(self, key: Array, batch: Batch, loaded: Any) -> tuple[Any, Any]:
        """`(trainable, frozen)` from a random key, an example batch and what was loaded."""

    def loss(
        self, trainable: Any, frozen: Any, batch: Batch, key: Array, train: bool = True
    ) -> tuple[Array, dict[str, Array | Mean]]:
        """A float32 scalar, and metrics: float32 scalars or `Mean`s.

        Without `train`, nothing is dropped: neither activations nor conditions.
        """

    def check_sampling(self, settings: Any) -> None:
        """Refuses settings by which its model cannot be sampled; in one line."""

    def model(self, trainable: Any, frozen: Any, settings: Any) -> Any:
        """The `Model` that was learned, sampled as `settings` say; None where it makes none.

        An objective that learns a codec instead has a method `learned_codec(trainable, frozen)`.
        """
