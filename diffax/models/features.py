"""What a network says of images, besides what it was made for."""

from __future__ import annotations

from typing import Any, NamedTuple


class Features(NamedTuple):
    """A network's view of B examples.

    Attributes:
        pooled: `[B, D]` float32, the activations before the last layer.
        logits: `[B, K]` float32, the last layer's; None where there is none.
    """

    pooled: Any
    logits: Any = None
