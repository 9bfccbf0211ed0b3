"""Recipes as trees of nouns: their choices by name, and as JSON; `dotted` has the places in them.

A node of the tree is a frozen dataclass or a Flax module; everything else is a value. A field whose
name is one of `families()`, and whose type is no plain one, holds a choice: any of that family's
nouns, by name. The fields of a Flax module hold values only, whatever they are called.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import json
import sys
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

import flax.linen as nn
import numpy as np
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
from diffax.training import optimizer, starting
from diffax.training.config import Config
from diffax.training.writers import WRITERS

_PLAIN = {str, int, float, bool, type(None)}
CLASS = "class"  # the key, in JSON, of a choice's name
FUNCTION = "function"  # that of a function's, or another object's that only code can give
_SOLVERS = ("solver", "predictor")  # families whose names are the registry's


def families() -> dict[str, Mapping[str, Any]]:
    """Names and nouns of every choice, by the name of the field that holds it."""
    return {
        "data": data.BY_NAME,
        "objective": objectives.BY_NAME,
        "teacher": starting.RUNS,
        "network": models.BY_NAME | pretrained.NETWORKS | starting.NETWORKS,
        "schedule": schedules.BY_NAME | pretrained.SCHEDULES,
        "parameterization": parameterization.BY_NAME | pretrained.PARAMETERIZATIONS,
        "times": losses.TIMES,
        "weighting": losses.WEIGHTINGS,
        "coupling": objectives.COUPLINGS,
        "variance": {"learned": losses.LearnedVariance},
        "uncertainty": {"learned": losses.Uncertainty},
        "conditioner": conditioning.BY_NAME | pretrained.CONDITIONERS | starting.READERS,
        "codec": codecs.BY_NAME | pretrained.CODECS | starting.CODECS,
        "adapter": adapters.BY_NAME,
        "autoencoder": models.AUTOENCODERS | {"published": pretrained.NETWORKS["published"]},
        "regularizer": losses.REGULARIZERS,
        "perceptual": losses.PERCEPTUAL | pretrained.PERCEPTUAL,
        "adversary": {"patch": objectives.Adversary},
        "augmentation": objectives.AUGMENTATIONS,
        "method": optimizer.METHODS,
        "decay": optimizer.DECAYS,
        "groups": {"group": optimizer.Group},
        "writers": WRITERS,
        "solver": registry.SOLVERS,
        "predictor": registry.SOLVERS,
        "metrics": evaluation.BY_NAME,
        "features": evaluation.FEATURES,
        "dequantization": evaluation.DEQUANTIZATIONS,
    }


# ---------------------------------------------------------------- nodes


def is_node(value: Any) -> bool:
    """Whether a value has fields of its own."""
    return dataclasses.is_dataclass(value) and not isinstance(value, type)


def fields(node: Any) -> Iterator[tuple[str, Any]]:
    """Names and values of a node's fields, in order."""
    for f in dataclasses.fields(node):
        if not _is_internal(type(node), f.name):
            yield f.name, getattr(node, f.name)


def _is_internal(kind: type, name: str) -> bool:
    """Whether a field is no part of a recipe: Flax's own, and what a run or script fills in."""
    if issubclass(kind, nn.Module):
        return name in ("parent", "name")
    if any(f.name == name and f.metadata.get("given") for f in dataclasses.fields(kind)):
        return True
    # Where a schedule is a choice, it is a recipe's; a solver or parameterization is told it.
    return name == "params" or (name == "schedule" and not hasattr(kind, "build"))


class Unread(str):
    """The name of a function that was read from a folder, which gives names and no code."""


def named(value: Any) -> Any:
    """A plain value as it is; a function, class or type of numbers as its name.

    Example:
        >>> import numpy as np
        >>> named(3), named(np.cos), named(np.dtype("float32"))
        (3, 'numpy.cos', 'float32')
    """
    if callable(value) and not is_node(value):
        return f"{value.__module__}.{getattr(value, '__qualname__', type(value).__name__)}"
    return str(value) if isinstance(value, np.dtype) else value


def replaced(node: Any, changes: Mapping[str, Any]) -> Any:
    """A node with other values in some fields, checked anew."""
    if isinstance(node, nn.Module):
        return node.clone(**changes)
    return dataclasses.replace(node, **changes)


def family_of(kind: Any, name: str) -> str | None:
    """The family of the choice in a class's field; None for a field that holds no choice."""
    kind = getattr(kind, "make", kind)  # of a solver's entry in the registry
    if name not in families() or issubclass(kind, nn.Module):
        return None
    held = types_of(kind).get(name)
    return None if set(typing.get_args(held) or (held,)) <= _PLAIN else name


@functools.cache
def types_of(kind: type) -> dict[str, Any]:
    """The types of a class's fields, by name."""
    return typing.get_type_hints(kind)


def may_be_none(node: Any, name: str) -> bool:
    """Whether a choice may be left out: where its default is None."""
    return any(f.name == name and f.default is None for f in dataclasses.fields(node))


@dataclasses.dataclass(frozen=True)
class Several:
    """The type of a field that holds any number of choices of one family, in order."""

    family: str


def item_names(names: Sequence[str]) -> tuple[str, ...]:
    """Names by which several choices are told apart: `group`, `group_2`, ...

    Example:
        >>> item_names(["group", "group", "recipe:Radius"])
        ('group', 'group_2', 'Radius')
    """
    short = [name.rpartition(":")[2].rpartition(".")[2] for name in names]
    counts = [short[: i + 1].count(name) for i, name in enumerate(short)]
    return tuple(n if i == 1 else f"{n}_{i}" for n, i in zip(short, counts, strict=True))


def items(family: str, nodes: Sequence[Any]) -> dict[str, Any]:
    """Several choices of a family by the names that tell them apart."""
    names = item_names([choice_name(family, node) for node in nodes])
    return dict(zip(names, nodes, strict=True))


def choice_name(family: str, node: Any) -> str:
    """The name of a choice; `module:Class` where it is the user's own."""
    if family in _SOLVERS and any(type(node) is e.make for e in registry.SOLVERS.values()):
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
    kind = _kind(family, name, where)
    if family in _SOLVERS and ":" not in name:
        return choice.make(name, **(values or {}))
    allowed = [f.name for f in dataclasses.fields(kind) if not _is_internal(kind, f.name)]
    for field in values or {}:
        if field not in allowed:
            raise ValueError(f"config has no field {where}.{field}; {nearest(field, allowed)}")
    try:
        return kind(**(values or {}))
    except TypeError as error:
        raise ValueError(
            f"{where}: {name} cannot be made ({error}); set {where}.FIELD, too"
        ) from None


def needed_fields(family: str, name: str, *, where: str) -> dict[str, Any]:
    """Types of a choice's fields that have no default; of a choice, its family."""
    kind = _kind(family, name, where)
    if family in _SOLVERS and ":" not in name:
        return {}
    hints, missing = types_of(kind), dataclasses.MISSING
    return {
        f.name: family_of(kind, f.name) or plain_type(hints[f.name])
        for f in dataclasses.fields(kind)
        if f.default is missing and f.default_factory is missing
    }


def _kind(family: str, name: str, where: str) -> Any:
    """What a choice's name stands for."""
    known = families()[family]
    if ":" in name:
        return _own_class(name, where)
    if family in _SOLVERS:
        try:
            return registry.lookup(name)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
    if name not in known:
        one = family.removesuffix("s")
        raise ValueError(f"{where}: no {one} is called {name!r}; {nearest(name, known)}")
    return known[name]


def _own_class(name: str, where: str) -> type:
    """A class of the user's own recipe, which must have been loaded already.

    A run's folder never decides what is imported: it could run anything.
    """
    module, _, qualname = name.partition(":")
    if "<locals>" in qualname:
        raise ValueError(
            f"{where}: the class {name} is defined inside a function, where nobody finds it again; "
            "define it at the top of a file or notebook"
        )
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


# ---------------------------------------------------------------- types


def plain_type(kind: Any) -> Any:
    """The type that a value of this field has on a command line."""
    if kind == ArrayLike:
        return float
    if kind == (ArrayLike | None):
        return float | None
    return kind


def type_name(kind: Any) -> str:
    """A type as a user would say it."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if isinstance(kind, str):
        return "one of " + ", ".join(families()[kind])
    if isinstance(kind, Several):
        return "any of " + ", ".join(families()[kind.family])
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


def _node_to_json(name: str | None, value: Any) -> Any:
    """JSON of a field's value; `name` is the field's, where it holds a choice."""
    if isinstance(value, tuple) and any(map(is_node, value)):
        return [_node_to_json(name, item) for item in value]
    if not is_node(value):
        return value if named(value) is value else {FUNCTION: named(value)}
    out = {CLASS: choice_name(name, value)} if name in families() else {}
    solver = registry.SOLVERS.get(out.get(CLASS, "")) if name in _SOLVERS else None
    fixed = {} if solver is None else solver.fixed
    return out | {
        n: _node_to_json(family_of(type(value), n), v) for n, v in fields(value) if n not in fixed
    }


def from_json(plain: Any, **given: Any) -> Config:
    """The config that `to_json` wrote.

    Args:
        plain: from JSON.
        **given: sections as objects, in place of what `plain` says of them.

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
    read = {n: v for n, v in plain.items() if n not in given}
    values = {n: _from_json(n, v, getattr(defaults, n), n) for n, v in read.items()}
    return _checked(lambda: Config(**values | given), "")


def _from_json(name: str | None, value: Any, default: Any, where: str) -> Any:
    """A field's value; `name` is the field's, where it may hold a choice."""
    family = name if name in families() else None
    if isinstance(value, list):
        if family:
            return tuple(_from_json(name, v, None, f"{where}[{i}]") for i, v in enumerate(value))
        return _tuples(value)
    if not isinstance(value, dict):
        return value
    if set(value) == {FUNCTION}:
        return Unread(value[FUNCTION])
    values = dict(value)
    if family:
        chosen = values.pop(CLASS, None)
        if not isinstance(chosen, str):
            raise ValueError(f"{where} in the config names no {name}: {str(value)[:80]}")
        kind = _kind(family, chosen, where)
        values = {
            n: _from_json(family_of(kind, n), v, None, f"{where}.{n}") for n, v in values.items()
        }
        return _checked(lambda: choose(family, chosen, values, where=where), where)
    if not is_node(default):
        raise ValueError(f"{where} in the config should be a value, got {str(value)[:80]}")
    allowed = [f.name for f in dataclasses.fields(default)]
    for field in values:
        if field not in allowed:
            raise ValueError(f"config has no field {where}.{field}; {nearest(field, allowed)}")
    values = {
        n: _from_json(family_of(type(default), n), v, getattr(default, n), f"{where}.{n}")
        for n, v in values.items()
    }
    return _checked(lambda: replaced(default, values), where)


def _checked(make: Callable[[], Any], where: str) -> Any:
    """A node made of JSON, whose values may have any type: what does not fit is one line."""
    try:
        node = make()
    except (TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"{where} in the config has a value of the wrong type ({error})") from None
    hints = types_of(type(node))
    for name, value in fields(node):
        path = f"{where}.{name}".removeprefix(".")
        if family_of(type(node), name):
            _check_choice(node, name, value, path)
        elif not fits(value, plain_type(hints[name])):
            wanted = type_name(plain_type(hints[name]))
            raise ValueError(f"{path} in the config should be {wanted}, got {str(value)[:80]!r}")
    return node


def _check_choice(node: Any, name: str, value: Any, where: str) -> None:
    default = next(f.default for f in dataclasses.fields(node) if f.name == name)
    several = isinstance(default, tuple)
    if several:
        right = isinstance(value, tuple) and all(map(is_node, value))
    else:
        right = is_node(value) or (value is None and may_be_none(node, name))
    if not right:
        wanted = f'{{"{CLASS}": NAME, ...}}'
        wanted = f"a list of {wanted}" if several else wanted
        raise ValueError(f"{where} in the config should be {wanted}, got {str(value)[:80]!r}")


def fits(value: Any, kind: Any) -> bool:
    """Whether a plain value is of a field's type; whole numbers are numbers, too."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal:
        return any(type(value) is type(a) and value == a for a in arguments)
    if origin in (typing.Union, types.UnionType):
        return any(fits(value, a) for a in arguments)
    if origin in (tuple, Sequence):
        if not isinstance(value, tuple):
            return False
        if origin is Sequence or (len(arguments) == 2 and arguments[1] is ...):
            return all(fits(item, arguments[0]) for item in value)
        return len(value) == len(arguments) and all(map(fits, value, arguments))
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if kind in (int, str, bool, type(None)):
        return type(value) is kind
    return isinstance(value, kind) if dataclasses.is_dataclass(kind) else True


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
