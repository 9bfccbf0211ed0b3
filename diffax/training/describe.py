"""All fields of a recipe with their meaning, for `--help`."""

from __future__ import annotations

import functools
import textwrap
from typing import Any

import docstring_parser

from diffax.training import choices, dotted
from diffax.training.config import Config

_WIDTH = 100


def help_text(config: Config) -> str:
    """A paragraph a field: dotted name, type, default, meaning."""
    types, values = dotted.field_types(config), dotted.flatten(config)
    lines = []
    for name, kind in types.items():
        *path, field = name.split(".")
        parent = dotted.node_at(config, path)
        default = values.get(name)
        head = f"--{name}  {choices.type_name(kind)} (default: {default})"
        lines.append(textwrap.fill(head, _WIDTH, subsequent_indent="    "))
        meaning = field_help(type(parent)).get(field)
        if meaning:
            lines.append(textwrap.indent(textwrap.fill(meaning, _WIDTH - 8), " " * 8))
    return "\n".join(lines)


@functools.cache
def field_help(kind: Any) -> dict[str, str]:
    """What a class's docstrings say of its fields."""
    found: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        if base.__module__.partition(".")[0] in ("builtins", "flax", "typing"):
            continue
        try:
            parsed = docstring_parser.parse_from_object(base)
        except (OSError, TypeError, ValueError, SyntaxError):
            continue
        for parameter in parsed.params:
            text = " ".join((parameter.description or "").split())
            if text:
                found[parameter.arg_name] = text
    return found
