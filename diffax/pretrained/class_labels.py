"""From class labels to what the U-Net is conditioned on."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from diffax.pretrained.network import LoadedNetwork


def class_list(
    embedder: LoadedNetwork, labels: int | Sequence[int] | None, num: int = 1
) -> list[int]:
    """The labels, each `num` times.

    Raises:
        ValueError: no labels, no whole numbers, or classes the model does not have.
    """
    last = embedder.module.null - 1
    expected = f"expected one class or more, as whole numbers from 0 to {last}, got {labels!r}"
    numbers = np.atleast_1d(np.asarray([] if labels is None else labels))
    if numbers.ndim != 1 or numbers.size == 0 or numbers.dtype.kind not in "iu":
        raise ValueError(expected)
    if numbers.min() < 0 or numbers.max() > last:
        raise ValueError(expected + "; pictures of no class are made by unconditional")
    return [int(label) for label in numbers for _ in range(num)]


def class_condition(embedder: LoadedNetwork, labels: Sequence[int]) -> dict[str, jax.Array]:
    """The U-Net's condition of B labels: "context" `[B, 1, C]` float32."""
    context = embedder(jnp.asarray(labels, jnp.int32))
    return {"context": context.astype(jnp.float32)}


def null_condition(embedder: LoadedNetwork, batch: int) -> dict[str, jax.Array]:
    """The condition of no class, `batch` times."""
    return class_condition(embedder, [embedder.module.null] * batch)
