"""Recipes as trees of nouns: by dotted names, as JSON, and with other choices.

A node of the tree is a frozen dataclass or a Flax module; everything else is a value. A field whose
name is one of `families()` holds a choice: any of that family's nouns, by name.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import sys
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import flax.linen as nn
from jax.typing import ArrayLike

from diffax import (
    adapters,
    codecs,
    conditioning,
    data,
    evaluation,
    losses,
    models,
    objectives,
    parameterization,
    pretrained,
    schedules,
)
from diffax.nearest import nearest
from diffax.solvers import choice, registry
from diffax.training import optimizer
from diffax.training.config import Config

CLASS = "class"  # the key, in JSON, of a choice's name


def families() -> dict[str, Mapping[str, Any]]:
    """Names and nouns of every choice, by the name of the field that holds it."""
    return {
        "data": data.BY_NAME,
        "objective": objectives.BY_NAME,
        "network": models.BY_NAME | pretrained.NETWORKS,
        "schedule": schedules.BY_NAME,
        "parameterization": parameterization.BY_NAME,
        "times": losses.TIMES,
        "weighting": losses.WEIGHTINGS,
        "variance": {"learned": losses.LearnedVariance},
        "conditioner": conditioning.BY_NAME | pretrained.CONDITIONERS,
        "codec": codecs.BY_NAME | pretrained.CODECS,
        "adapter": adapters.BY_NAME,
        "method": optimizer.METHODS,
        "decay": optimizer.DECAYS,
        "groups": {"group": optimizer.Group},
        "solver": registry.SOLVERS,
        "metrics": evaluation.BY_NAME,
    }


# ---------------------------------------------------------------- nodes


def is_node(value: Any) -> bool:
    """Whether a value has fields of its own."""
    return dataclasses.is_dataclass(value) and not isinstance(value, type)


def fields(node: Any) -> Iterator[tuple[str, Any]]:
    """Names and values of a node's fields, in order."""
    for f in dataclasses.fields(node):
        internal = isinstance(node, nn.Module) and f.name in ("parent", "name")
        # What a run fills in is no part of its recipe.
        if not (internal or (f.name == "params") or (f.name == "schedule" and _is_solver(node))):
            yield f.name, getattr(node, f.name)


def replaced(node: Any, changes: Mapping[str, Any]) -> Any:
    """A node with other values in some fields, checked anew."""
    if isinstance(node, nn.Module):
        return node.clone(**changes)
    return dataclasses.replace(node, **changes)


def choice_name(family: str, node: Any) -> str:
    """The name of a choice; `module:Class` where it is the user's own."""
    if family == "solver":
        return choice.name_of(node)
    for name, kind in families()[family].items():
        if type(node) is kind:
            return name
    return f"{type(node).__module__}:{type(node).__qualname__}"


def choose(family: str, name: str, values: Mapping[str, Any] | None = None, *, where: str) -> Any:
    """A choice by name, its other fields being the defaults.

    Raises:
        ValueError: no such choice or field; in one line, with the nearest.
    """
    known = families()[family]
    if ":" in name:
        kind = _own_class(name, where)
    elif name in known:
        kind = known[name]
    else:
        raise ValueError(f"{where}: no {family} is called {name!r}; {nearest(name, known)}")
    if family == "solver":
        return choice.make(name, **(values or {}))
    allowed = [f.name for f in dataclasses.fields(kind)]
    for field in values or {}:
        if field not in allowed:
            raise ValueError(f"config has no field {where}.{field}; {nearest(field, allowed)}")
    try:
        return kind(**(values or {}))
    except TypeError as error:
        raise ValueError(
            f"{where}: {name} cannot be made ({error}); set the missing fields"
        ) from None


def _own_class(name: str, where: str) -> type:
    """A class of the user's own recipe, which must have been loaded already.

    A run's folder never decides what is imported: it could run anything.
    """
    module, _, qualname = name.partition(":")
    if module not in sys.modules:
        raise ValueError(
            f"{where} is a class of the recipe's own, {name}; its code is not run from a folder: "
            "give the recipe with --config, or import it first"
        )
    kind: Any = importlib.import_module(module)
    for part in qualname.split("."):
        kind = getattr(kind, part, None)
    if not (isinstance(kind, type) and dataclasses.is_dataclass(kind)):
        raise ValueError(f"{where}: {name} is no class with fields")
    return kind


def _is_solver(node: Any) -> bool:
    return hasattr(node, "step") and hasattr(node, "init")


# ---------------------------------------------------------------- dotted names


def flatten(node: Any, prefix: str = "") -> dict[str, Any]:
    """Every value by its dotted name, choices by their names, in order."""
    flat: dict[str, Any] = {}
    for name, value in fields(node):
        path = f"{prefix}{name}"
        if is_node(value):
            if name in families():
                flat[path] = choice_name(name, value)
            flat |= flatten(value, f"{path}.")
        elif isinstance(value, tuple) and any(map(is_node, value)):
            flat[path] = [json.dumps(_node_to_json(name, item)) for item in value]
        else:
            flat[path] = value
    return flat


def field_types(node: Any, prefix: str = "") -> dict[str, Any]:
    """The type of every value, by dotted name; of a choice, its family's name."""
    found: dict[str, Any] = {}
    hints = typing.get_type_hints(type(node))
    for name, value in fields(node):
        path = f"{prefix}{name}"
        if name in families() and not isinstance(value, tuple):
            found[path] = name
        if is_node(value):
            found |= field_types(value, f"{path}.")
        elif name not in families():
            found[path] = _plain_type(hints[name])
    return found


def _plain_type(kind: Any) -> Any:
    """The type that a value of this field has on a command line."""
    if kind == ArrayLike:
        return float
    if kind == (ArrayLike | None):
        return float | None
    return kind


def differences(old: Config, new: Config) -> dict[str, tuple[Any, Any]]:
    """Dotted name -> (old value, new value) of every field that is not the same."""
    before, after = flatten(old), flatten(new)
    return {
        name: (before.get(name), after.get(name))
        for name in [*before, *(n for n in after if n not in before)]
        if before.get(name) != after.get(name)
    }


def type_name(kind: Any) -> str:
    """A type as a user would say it."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if isinstance(kind, str):
        return "one of " + ", ".join(families()[kind])
    if origin is Literal:
        return "one of " + ", ".join(map(str, arguments))
    if origin in (typing.Union, types.UnionType):
        return " or ".join(type_name(a) for a in arguments)
    if origin is tuple:
        if len(arguments) == 2 and arguments[1] is ...:
            return f"any number of values, each {type_name(arguments[0])}"
        return f"{len(arguments)} values, each {type_name(arguments[0])}"
    names = {
        int: "a whole number",
        float: "a number",
        str: "text",
        bool: "True or False",
        type(None): "None",
    }
    return names.get(kind, "a value")


# ---------------------------------------------------------------- JSON


def to_json(config: Config) -> dict[str, Any]:
    """The config as plain data, for `json.dumps`; back with `from_json`."""
    # Tuples become lists, and what is not plain is refused.
    return json.loads(json.dumps({n: _node_to_json(n, part) for n, part in fields(config)}))


def _node_to_json(name: str, value: Any) -> Any:
    if isinstance(value, tuple) and any(map(is_node, value)):
        return [_node_to_json(name, item) for item in value]
    if not is_node(value):
        return value
    out = {CLASS: choice_name(name, value)} if name in families() else {}
    fixed = registry.lookup(out[CLASS]).fixed if name == "solver" else {}
    return out | {n: _node_to_json(n, v) for n, v in fields(value) if n not in fixed}


def from_json(plain: Any) -> Config:
    """The config that `to_json` wrote.

    Raises:
        ValueError: a section, choice or field that this version does not know, or JSON of another
            form; in one line.
    """
    known = {f.name: f for f in dataclasses.fields(Config)}
    if not isinstance(plain, dict) or {"data", "objective"} - set(plain) or set(plain) - set(known):
        got = ", ".join(plain) if isinstance(plain, dict) else type(plain).__name__
        raise ValueError(
            f"not a config of this version: expected sections {', '.join(known)}, got {got}; a "
            "folder of diffax 0.1 can be sampled with that version only: train anew in another "
            "--workdir"
        )
    defaults = Config(data=None, objective=None)
    return Config(**{n: _from_json(n, v, getattr(defaults, n), n) for n, v in plain.items()})


def _from_json(name: str, value: Any, default: Any, where: str) -> Any:
    if isinstance(value, list):
        if name in families():
            return tuple(_from_json(name, v, None, f"{where}[{i}]") for i, v in enumerate(value))
        return _tuples(value)
    if not isinstance(value, dict):
        return value
    values = dict(value)
    if name in families():
        chosen = values.pop(CLASS, None)
        if not isinstance(chosen, str):
            raise ValueError(f"{where} in the config names no {name}: {str(value)[:80]}")
        values = {n: _from_json(n, v, None, f"{where}.{n}") for n, v in values.items()}
        return _checked(where, lambda: choose(name, chosen, values, where=where))
    if default is None:
        raise ValueError(f"{where} in the config should be a value, got {str(value)[:80]}")
    allowed = [f.name for f in dataclasses.fields(default)]
    for field in values:
        if field not in allowed:
            raise ValueError(f"config has no field {where}.{field}; {nearest(field, allowed)}")
    values = {n: _from_json(n, v, getattr(default, n), f"{where}.{n}") for n, v in values.items()}
    return _checked(where, lambda: replaced(default, values))


def _checked(where: str, make: Any) -> Any:
    """A node made of JSON, whose values may have any type: what does not fit is one line."""
    try:
        return make()
    except (TypeError, AttributeError) as error:
        raise ValueError(f"{where} in the config has a value of the wrong type ({error})") from None


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
