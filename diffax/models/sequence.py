"""What networks over time share: `[B, L, C]` as images of one row, and what is heard beside."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from diffax.models.condition import Condition, sized


def check_sequences(network: Any, x: jax.Array, t: jax.Array, factor: int) -> None:
    """Refuses what is not sequences `[B, L, C]` with times `[B]`, or does not divide.

    Args:
        network: named in the error.
        x: the sequences.
        t: the times.
        factor: that L must be a multiple of.

    Raises:
        ValueError: see above.
    """
    name = type(network).__name__
    if x.ndim != 3 or t.shape != x.shape[:1]:
        raise ValueError(
            f"{name}: expected sequences [B, L, C] and times [B], got shapes {x.shape} and "
            f"{t.shape}"
        )
    if x.shape[1] % factor:
        raise ValueError(
            f"{name}: expected a length that is a multiple of {factor} (patch, halved on all "
            f"levels but one), got {x.shape[1]}; change data.length or the network's fields"
        )


def folded(x: jax.Array, patch: int) -> jax.Array:
    """Neighbouring samples as channels: `[B, L, C]` to `[B, 1, L / patch, patch C]`."""
    batch, length, channels = x.shape
    return x.reshape(batch, 1, length // patch, patch * channels)


def unfolded(x: jax.Array, patch: int) -> jax.Array:
    """The inverse of `folded`."""
    batch, _, length, channels = x.shape
    return x.reshape(batch, length * patch, channels // patch)


def heard_beside(network: Any, condition: Condition, length: int) -> jax.Array:
    """Frames of a local condition, `[B, F, frame_size]`, at every position: `[B, 1, length, ...]`.

    Between the frames' middles they are interpolated.
    """
    frames = sized(network, condition, "frames", 3, network.frame_size).astype(jnp.float32)
    shape = (frames.shape[0], length, frames.shape[2])
    return jax.image.resize(frames, shape, "linear")[:, None]
