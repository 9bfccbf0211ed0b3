"""Parameters from named tensors: everything is checked before anything is read."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from diffax.pretrained import naming
from diffax.pretrained.naming import Source
from diffax.pretrained.weights import Tensors

LISTED = 20


def fill(
    shapes: Mapping[str, Any],
    tensors: Tensors,
    *,
    locate: Callable[[str], Source] = Source,
    harmless: tuple[tuple[str, str], ...] = naming.HARMLESS,
    where: str = "checkpoint",
) -> dict:
    """Reads a network's parameters.

    Args:
        shapes: the tree `{"params": ...}` of `jax.eval_shape` of the module's `init`; its dtypes
            are the parameters'.
        tensors: the file's tensors.
        locate: from a published key to its place in this file's layout.
        harmless: `(pattern, reason)` of names that may be left unread.
        where: the name of the file, for errors.

    Returns:
        The tree of `shapes`, filled. One tensor at a time is in memory beside it.

    Raises:
        ValueError: parameters are missing, mis-shaped or left over, all listed at once.
    """
    sources = checked_sources(shapes, tensors, locate, harmless, where)
    filled = {}
    for path, wanted in _flat(shapes).items():
        value = _part(tensors[sources[path].key], sources[path])
        value = naming.to_flax(path[-1], value, wanted.shape)
        # asarray may keep a view of a foreign buffer; copying makes the array independent of it.
        filled[path] = jnp.array(np.asarray(value, dtype=wanted.dtype, order="C"))
    return {"params": unflatten_dict(filled)}


def _flat(tree: Mapping[str, Any]) -> dict[tuple[str, ...], Any]:
    # Flax says "or an empty node", which only `keep_empty_nodes` gives.
    return cast(dict[tuple[str, ...], Any], flatten_dict(tree["params"]))


def _located(path: tuple[str, ...], tensors: Tensors, locate: Callable[[str], Source]) -> Source:
    source = locate(naming.published_key(path))
    found = naming.find(source.key, tensors)
    return source if found is None else dataclasses.replace(source, key=found)


def _part(value: np.ndarray, source: Source) -> np.ndarray:
    if source.part is not None:
        i, n = source.part
        run = source.run or value.shape[0] // n
        value = value.reshape(-1, n, run, *value.shape[1:])[:, i].reshape(-1, *value.shape[1:])
    return value.T if source.transposed else value


def checked_sources(
    shapes: Mapping[str, Any],
    tensors: Tensors,
    locate: Callable[[str], Source] = Source,
    harmless: tuple[tuple[str, str], ...] = naming.HARMLESS,
    where: str = "checkpoint",
) -> dict[tuple[str, ...], Source]:
    """Each parameter's place in the file; arguments and errors as in `fill`. Reads no tensor."""
    flat = _flat(shapes)
    sources = {path: _located(path, tensors, locate) for path in flat}
    missing, misshaped, used = [], [], set()
    for path, wanted in flat.items():
        source = sources[path]
        if source.key not in tensors:
            missing.append(source.key)
            continue
        used.add(source.key)
        found = tensors.shape(source.key)
        if source.part is not None:
            found = (found[0] // source.part[1], *found[1:])
        if source.transposed:
            found = found[::-1]
        expected = naming.published_shape(path[-1], tuple(wanted.shape))
        if not naming.same_shape(found, expected):
            misshaped.append(f"{source.key} (expected {expected}, got {found})")
    unexpected = set(tensors) - used
    unexpected -= naming.harmless(unexpected, harmless)
    problems = [
        f"{len(names)} {kind}: {', '.join(sorted(names)[:LISTED])}"
        + (", ..." if len(names) > LISTED else "")
        for kind, names in (
            ("missing", missing),
            ("mis-shaped", misshaped),
            ("unexpected", unexpected),
        )
        if names
    ]
    if problems:
        raise ValueError(
            f"{where}: the tensors do not fit the network. "
            + "; ".join(problems)
            + ". Check that config.json belongs to this file"
        )
    return sources


def leaves(params: Mapping[str, Any]) -> dict[str, tuple[str, jax.Array]]:
    """Every parameter of `{"params": ...}` by its published key: `(Flax leaf name, value)`."""
    return {naming.published_key(path): (path[-1], value) for path, value in _flat(params).items()}
