"""What a network is told besides x and t: arrays, each under a name that the network reads."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp

Condition = Mapping[str, jax.Array]

NOTHING: Condition = MappingProxyType({})


def checked(
    network: Any, condition: Condition, batch: int, needed: tuple[str, ...] = ()
) -> Condition:
    """The condition, where it is one that the network reads.

    Args:
        network: has the property `reads`, the names it knows.
        condition: arrays `[B, ...]` by name.
        batch: B.
        needed: names that must be there.

    Raises:
        ValueError: not a dict, a name that the network does not read, one that is missing, or an
            array for another batch.
    """
    name = type(network).__name__
    known = ", ".join(f'"{key}"' for key in network.reads) or "nothing: pass {}"
    if not isinstance(condition, Mapping):
        raise ValueError(
            f'{name}: expected a condition as a dict of arrays, such as {{"label": ...}}, or {{}}; '
            f"got {type(condition).__name__}"
        )
    strange = [key for key in condition if key not in network.reads]
    if strange:
        raise ValueError(
            f"{name}: condition {strange} is unknown; with its fields it reads {known}"
        )
    missing = [key for key in needed if key not in condition]
    if missing:
        raise ValueError(f"{name}: condition {missing} is missing; got {sorted(condition)}")
    for key, value in condition.items():
        if jnp.shape(value)[:1] != (batch,):
            raise ValueError(
                f'{name}: expected condition["{key}"] [B, ...] with B = {batch} as x has, got '
                f"shape {jnp.shape(value)}"
            )
    return condition


def labels(condition: Condition, batch: int, num_classes: int) -> jax.Array:
    """The labels int `[B]`; without any the null label, `num_classes`, for every example."""
    if "label" not in condition:
        return jnp.full((batch,), num_classes, jnp.int32)
    label = jnp.asarray(condition["label"])
    if label.ndim != 1 or not jnp.issubdtype(label.dtype, jnp.integer):
        raise ValueError(
            f'expected condition["label"] as integers [B], got {label.dtype} {label.shape}'
        )
    return label


def sized(network: Any, condition: Condition, name: str, rank: int, size: int) -> jax.Array:
    """An entry of the condition, `[B, size]` or `[B, L, size]`.

    Raises:
        ValueError: it has another rank, or another last size than the network was made for.
    """
    value = condition[name]
    if value.ndim != rank or value.shape[-1] != size:
        raise ValueError(
            f'{type(network).__name__}: expected condition["{name}"] '
            f"[{'B, ' + 'L, ' * (rank - 2)}{size}], got {value.shape}; give the network "
            f"{name}_size of what it will be told"
        )
    return value


def augment_labels(network: Any, condition: Condition, batch: int) -> jax.Array:
    """How each image was changed `[B, network.augment_size]`; zeros where nothing is said of it."""
    if "augment" not in condition:
        return jnp.zeros((batch, network.augment_size))
    return sized(network, condition, "augment", 2, network.augment_size)


def check_images(network: Any, x: jax.Array, t: jax.Array, factor: int, why: str) -> None:
    """Refuses what is not images `[B, H, W, C]` with times `[B]`, or does not divide.

    Args:
        network: named in the error.
        x: the images.
        t: the times.
        factor: that height and width must be divisible by.
        why: they must, in words.

    Raises:
        ValueError: see above.
    """
    name = type(network).__name__
    if x.ndim != 4 or t.shape != x.shape[:1]:
        raise ValueError(
            f"{name}: expected images [B, H, W, C] and times [B], got shapes {x.shape} and "
            f"{t.shape}"
        )
    if x.shape[1] % factor or x.shape[2] % factor:
        raise ValueError(
            f"{name}: expected height and width divisible by {factor}, {why}; got "
            f"{x.shape[1]}x{x.shape[2]}; resize or pad the images, or change the field"
        )


def check_attention(network: Any, shape: tuple[int, ...]) -> None:
    """Refuses `attention_resolutions` of which one is no level's: it would have no effect.

    The class's own default passes: it is of the papers' sizes, and no wish.

    Args:
        network: any; one without levels passes.
        shape: of the images, `(H, W, C)`.

    Raises:
        ValueError: a side that no level has.
    """
    listed = getattr(network, "attention_resolutions", None)
    if listed is None or len(shape) != 3 or listed == type(network).attention_resolutions:
        return
    patch = getattr(network, "patch", 1)
    sides = [
        [side // (patch * 2**level) for side in shape[:2]]
        for level in range(len(network.multipliers))
    ]
    missing = sorted(set(listed) - {side for both in sides for side in both})
    if missing:
        levels = ", ".join(f"{height}x{width}" for height, width in sides)
        raise ValueError(
            f"network.attention_resolutions: no level has a side of {missing[0]}; images of "
            f"{shape[0]}x{shape[1]} have the levels {levels}"
        )
