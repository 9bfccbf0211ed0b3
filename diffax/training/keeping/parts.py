"""A training state as trees with names, which a checkpoint keeps and reads one by one."""

from __future__ import annotations

from typing import Any

import jax

from diffax.training.state import TrainState

WEIGHTS = "trainable"


def parts(state: TrainState) -> dict[str, Any]:
    """A state's parts by name, trees of dictionaries and arrays; empty parts are left out.

    Args:
        state: of arrays, or of their shapes and places.
    """
    named = {
        WEIGHTS: state.trainable,
        "optimizer": flat(state.opt_state),
        "counters": {"step": state.step, "skipped": state.skipped, "key": _key_data(state.key)},
        **{average_part(name): average for name, average in state.ema.items()},
    }
    return {name: part for name, part in named.items() if jax.tree.leaves(part)}


def state_of(named: dict[str, Any], like: TrainState) -> TrainState:
    """The inverse of `parts`.

    Args:
        named: the parts.
        like: a state, or its shapes, of the same structure.
    """
    counters = named["counters"]
    optimizer = [leaf for _, leaf in sorted(named.get("optimizer", {}).items())]
    return TrainState(
        named.get(WEIGHTS, like.trainable),
        opt_state=jax.tree.unflatten(jax.tree.structure(like.opt_state), optimizer),
        ema={name: named.get(average_part(name), tree) for name, tree in like.ema.items()},
        step=counters["step"],
        skipped=counters["skipped"],
        key=jax.random.wrap_key_data(counters["key"]),
    )


def average_part(name: str) -> str:
    """The part that holds an average of the weights."""
    return f"ema {name}".replace(" ", "-")


def shapes(state: TrainState) -> dict[str, list]:
    """Shape and type of every array of a state, as plain data."""
    return {
        f"{part}: {name[6:]}": [list(leaf.shape), str(leaf.dtype)]
        for part, tree in parts(state).items()
        for name, leaf in flat(tree).items()
    }


def flat(tree: Any) -> dict[str, Any]:
    """A tree as a flat dictionary in the tree's own order."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    # The number keeps the order, the path is for people.
    return {f"{i:05d} {jax.tree_util.keystr(path)}": leaf for i, (path, leaf) in enumerate(leaves)}


def _key_data(key: Any) -> Any:
    if not isinstance(key, jax.ShapeDtypeStruct):
        return jax.random.key_data(key)
    data = jax.eval_shape(jax.random.key_data, key)
    return jax.ShapeDtypeStruct(data.shape, data.dtype, sharding=key.sharding)
