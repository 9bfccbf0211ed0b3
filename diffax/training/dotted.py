"""Places in a recipe by dotted names: `objective.schedule.num_steps`.

Several choices in one field are told apart by their own names: `optimizer.groups.group_2.pattern`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from diffax.training.choices import (
    Several,
    choice_name,
    family_of,
    fields,
    is_node,
    items,
    named,
    plain_type,
    replaced,
    types_of,
)
from diffax.training.config import Config


def flatten(node: Any, prefix: str = "") -> dict[str, Any]:
    """Every value by its dotted name, choices and functions by their names, in order."""
    flat: dict[str, Any] = {}
    for name, value in fields(node):
        path = f"{prefix}{name}"
        if is_node(value):
            if family_of(type(node), name):
                flat[path] = choice_name(name, value)
            flat |= flatten(value, f"{path}.")
        elif isinstance(value, tuple) and family_of(type(node), name):
            nodes = items(name, value)
            flat[path] = tuple(nodes)
            for item, inner in nodes.items():
                flat |= flatten(inner, f"{path}.{item}.")
        else:
            flat[path] = named(value)
    return flat


def field_types(node: Any, prefix: str = "") -> dict[str, Any]:
    """The type of every value, by dotted name; of a choice, its family's name."""
    found: dict[str, Any] = {}
    hints = types_of(type(node))
    for name, value in fields(node):
        path = f"{prefix}{name}"
        family = family_of(type(node), name)
        if family and isinstance(value, tuple):
            found[path] = Several(family)
            for item, inner in items(family, value).items():
                found |= field_types(inner, f"{path}.{item}.")
        elif family:
            found[path] = family
        if is_node(value):
            found |= field_types(value, f"{path}.")
        elif not family:
            found[path] = plain_type(hints[name])
    return found


def node_at(node: Any, path: Sequence[str], family: str = "") -> Any:
    """What is at a place of the tree, or None.

    Args:
        node: the tree, or several choices of `family`.
        path: the parts of a dotted name.
        family: of the choices, where `node` is a tuple.
    """
    if not path or node is None:
        return node
    first, *rest = path
    found = (
        items(family, node).get(first) if isinstance(node, tuple) else getattr(node, first, None)
    )
    return node_at(found, rest, first)


def with_node(node: Any, path: Sequence[str], value: Any, family: str = "") -> Any:
    """The tree with something else at a place; arguments as for `node_at`."""
    if not path:
        return value
    first, *rest = path
    if isinstance(node, tuple):
        nodes = items(family, node)
        return tuple((nodes | {first: with_node(nodes[first], rest, value, first)}).values())
    return replaced(node, {first: with_node(getattr(node, first), rest, value, first)})


def differences(old: Config, new: Config) -> dict[str, tuple[Any, Any]]:
    """Dotted name -> (old value, new value) of every field that is not the same."""
    before, after = flatten(old), flatten(new)
    return {
        name: (before.get(name), after.get(name))
        for name in [*before, *(n for n in after if n not in before)]
        if before.get(name) != after.get(name)
    }
