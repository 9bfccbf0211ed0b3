"""Fields of a recipe set from text: `--schedule cosine --schedule.num_steps 500`."""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import io
from collections.abc import Mapping, Sequence
from typing import Any

from diffax.nearest import nearest
from diffax.training import choices, dotted
from diffax.training.config import Config


def override(config: Config, given: Mapping[str, Sequence[str]]) -> Config:
    """A config with other choices and values.

    Args:
        config: gives the defaults and the types.
        given: dotted name -> words. The beginning of a name may be left out where the rest says it
            all: `schedule.num_steps` for `objective.schedule.num_steps`. Several choices
            (`evaluation.metrics`, `optimizer.groups`) are named in order, and their fields follow
            those names: `optimizer.groups.group_2.pattern`.

    Raises:
        ValueError: an unknown or ambiguous name, or a value of the wrong type or out of its range;
            in one line.

    Example:
        >>> from diffax.data import Toy
        >>> from diffax.models import VectorMLP
        >>> from diffax.objectives import Denoising
        >>> config = Config(Toy(), Denoising(VectorMLP()))
        >>> given = {"schedule": ["linear"], "schedule.num_steps": ["10"]}
        >>> override(config, given).objective.schedule.num_steps
        10
    """
    pending = dict(given)
    # Choices first, the outer ones before the inner: they decide which other names there are.
    while True:
        types = dotted.field_types(config)
        named = {name: full_name(name, types) for name in pending}
        known = {name: full for name, full in named.items() if full is not None}
        chosen = [n for n, full in known.items() if _is_choice(types[full], pending[n])]
        if not chosen:
            break
        name = min(chosen, key=lambda n: known[n].count("."))
        words, full = pending.pop(name), known[name]
        needed = {f: w for n in (name, full) for f, w in _below(n, given).items()}
        kind = types[full]
        if isinstance(kind, choices.Several):
            chosen = _several(config, full, kind.family, words, needed)
        else:
            chosen = _choice(config, full, kind, words, needed)
        config = dotted.with_node(config, full.split("."), chosen)
    for name, full in named.items():
        if full is None:
            raise ValueError(f"unknown option --{name}; {nearest(name, _names(types))}")
    changes: dict[str, dict[str, Any]] = {}
    for name, words in pending.items():
        parent, _, field = known[name].rpartition(".")
        kind = types[known[name]]
        if isinstance(kind, str):  # None in place of a choice
            if not choices.may_be_none(_parent(config, parent), field):
                raise ValueError(f"--{name} should be {choices.type_name(kind)}, got 'None'")
            changes.setdefault(parent, {})[field] = None
        else:
            changes.setdefault(parent, {})[field] = parsed(name, words, kind)
    # A node at a time, since its checks look at several fields together.
    for parent, fields in changes.items():
        node = choices.replaced(_parent(config, parent), fields)
        config = dotted.with_node(config, _parts(parent), node)
    return config


def full_name(name: str, known: Mapping[str, Any]) -> str | None:
    """The dotted name that is meant: itself, or the only one that ends in it.

    Raises:
        ValueError: several end in it.
    """
    if name in known:
        return name
    ends = [full for full in known if full.endswith(f".{name}")]
    least = min((full.count(".") for full in ends), default=0)
    shortest = [full for full in ends if full.count(".") == least]
    if len(shortest) > 1:
        raise ValueError(f"--{name} may mean --{', --'.join(shortest)}: say which")
    return shortest[0] if shortest else None


def parsed(name: str, words: Sequence[str], kind: Any) -> Any:
    """Text as a value of a field's type."""
    if kind is Any:
        return _literal(name, words)
    import tyro
    from tyro.conf import AvoidSubcommands, FlagConversionOff

    options = (AvoidSubcommands, FlagConversionOff)
    record = dataclasses.make_dataclass("Field", [("value", kind)])
    with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
        try:
            return tyro.cli(record, args=["--value", *words], config=options).value
        except SystemExit:
            got = " ".join(words) or "nothing"
            raise ValueError(f"--{name} should be {choices.type_name(kind)}, got {got!r}") from None


def _literal(name: str, words: Sequence[str]) -> Any:
    text = " ".join(words)
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        raise ValueError(
            f"--{name} should be a number, text in quotes, a list or None, got {text!r}"
        ) from None
    return tuple(value) if isinstance(value, list) else value


def _is_choice(kind: Any, words: Sequence[str]) -> bool:
    if isinstance(kind, choices.Several):
        return True
    return isinstance(kind, str) and list(words) != ["None"]


def _several(
    config: Config, full: str, family: str, words: Sequence[str], given: Mapping[str, Sequence[str]]
) -> tuple[Any, ...]:
    """Choices by their names, in order; `given` are words for fields: `group_2.pattern`."""
    names = [name for word in words if word != "None" for name in word.split(",") if name]
    for name in names:
        choices.needed_fields(family, name, where=f"--{full}")  # says what is unknown
    return tuple(
        _choice(config, f"{full}.{item}", family, [name], _below(item, given))
        for item, name in zip(choices.item_names(names), names, strict=True)
    )


def _choice(
    config: Config, full: str, family: str, words: Sequence[str], given: Mapping[str, Sequence[str]]
) -> Any:
    """The choice of a name; `given` are words for its own fields, for those without a default."""
    if len(words) != 1:
        known = ", ".join(choices.families()[family])
        raise ValueError(f"--{full} should be one of {known}, got {' '.join(words) or 'nothing'!r}")
    before = dotted.node_at(config, full.split("."))
    if choices.is_node(before) and choices.choice_name(family, before) == words[0]:
        return before  # with the numbers that the recipe gave it
    values = {}
    for field, kind in choices.needed_fields(family, words[0], where=f"--{full}").items():
        inner = f"{full}.{field}"
        if field in given and isinstance(kind, str):
            values[field] = _choice(config, inner, kind, given[field], _below(field, given))
        elif field in given:
            values[field] = parsed(inner, given[field], kind)
    return choices.choose(family, words[0], values, where=f"--{full}")


def _below(name: str, given: Mapping[str, Sequence[str]]) -> dict[str, Sequence[str]]:
    """What is given for the fields of a node, by their own names."""
    return {n.removeprefix(f"{name}."): w for n, w in given.items() if n.startswith(f"{name}.")}


def _parts(name: str) -> list[str]:
    return name.split(".") if name else []


def _parent(config: Config, name: str) -> Any:
    return dotted.node_at(config, _parts(name))


def _names(types: Mapping[str, Any]) -> list[str]:
    """All names, the long ones in their short form too."""
    short = [name.removeprefix("objective.") for name in types if name.startswith("objective.")]
    return [*types, *short]
