"""Where a Flax parameter lies in a published file, and how it is laid out there.

The Flax modules carry the published names, so most of the mapping is one rule: a trailing `_<n>`
of a module's name is a list index (`down_blocks_0` is `down_blocks.0`), `kernel`, `scale` and
`embedding` are `weight`.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Container, Iterable

import numpy as np

# Module names whose trailing number is part of the published name.
NOT_AN_INDEX = ("linear_1", "linear_2")

WEIGHTS = ("kernel", "scale", "embedding")

# What older or newer writers call the same parameter, tried in this order.
ALIASES = (
    # diffusers before 0.13, and attention blocks of the first autoencoders
    (r"\.to_q\.", ".query."),
    (r"\.to_k\.", ".key."),
    (r"\.to_v\.", ".value."),
    (r"\.to_out\.0\.", ".proj_attn."),
    # transformers since 5.0
    (r"^text_model\.", ""),
)

# Keys of published files that hold nothing a network needs, each with its reason.
HARMLESS = (
    (r"(^|\.)position_ids$", "the numbers 0..76, once stored as a buffer"),
    (r"\.Conv2d_0\.(weight|bias)$", "second name of a resampling convolution"),
)


@dataclasses.dataclass(frozen=True)
class Source:
    """Where one parameter is found.

    Attributes:
        key: the tensor's name in the file.
        part: `(i, n)`: it is the i-th of n equal parts along the first axis; None: all of it.
        run: rows of one part that lie together, before those of the next part, as where a file
            splits heads before query, key and value; None: the whole part.
        transposed: a matrix stored the other way round than a linear layer's weight.
    """

    key: str
    part: tuple[int, int] | None = None
    run: int | None = None
    transposed: bool = False


def published_key(path: tuple[str, ...]) -> str:
    """The published name of the Flax parameter at `path`.

    Example:
        >>> published_key(("down_blocks_0", "attentions_1", "proj_in", "kernel"))
        'down_blocks.0.attentions.1.proj_in.weight'
    """
    modules = [p if p in NOT_AN_INDEX else re.sub(r"_(\d+)$", r".\1", p) for p in path[:-1]]
    return ".".join([*modules, "weight" if path[-1] in WEIGHTS else path[-1]])


def find(key: str, names: Container[str]) -> str | None:
    """The name under which `key` is stored among `names`, or None."""
    for pattern, replacement in ((r"^$", ""), *ALIASES):
        candidate = re.sub(pattern, replacement, key)
        if candidate in names:
            return candidate
    return None


def harmless(names: Iterable[str], rules: tuple[tuple[str, str], ...] = HARMLESS) -> set[str]:
    """Those of `names` that a rule explains away."""
    return {name for name in names if any(re.search(pattern, name) for pattern, _ in rules)}


def published_shape(leaf: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Shape in the file of a Flax parameter called `leaf`: OIHW convolutions, [out, in] maps."""
    if leaf != "kernel":
        return shape
    return (shape[3], shape[2], shape[0], shape[1]) if len(shape) == 4 else shape[::-1]


def to_published(leaf: str, value: np.ndarray) -> np.ndarray:
    """A Flax parameter as the file has it (a view)."""
    if leaf != "kernel":
        return value
    return value.transpose(3, 2, 0, 1) if value.ndim == 4 else value.T


def to_flax(leaf: str, value: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """A published tensor as the Flax parameter of the given shape (a view)."""
    if leaf != "kernel":
        return value
    value = value.transpose(2, 3, 1, 0) if value.ndim == 4 else value.T
    return value.reshape(shape)  # a 1x1 convolution and a linear map stand for each other


def same_shape(found: tuple[int, ...], expected: tuple[int, ...]) -> bool:
    """Whether shapes agree, where a 1x1 convolution and a linear map count as equal."""
    return _without_ones(found) == _without_ones(expected)


def _without_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    return shape[:2] if len(shape) > 2 and set(shape[2:]) == {1} else shape
