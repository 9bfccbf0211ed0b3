"""Parameters by name: a tree as a flat dictionary `"network/params/mid_block/..."`."""

import re
from typing import Any

from flax import traverse_util


def flat(tree: Any) -> dict[str, Any]:
    """The leaves by their names, parts joined by "/"."""
    return traverse_util.flatten_dict(tree, sep="/", keep_empty_nodes=False)


def nested(leaves: dict[str, Any]) -> Any:
    """The inverse of `flat`."""
    return traverse_util.unflatten_dict(leaves, sep="/")


def matching(names: Any, pattern: str, what: str) -> set[str]:
    """The names in which a regular expression is found.

    Raises:
        ValueError: not a regular expression, or it is found nowhere.
    """
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{what} {pattern!r} is no regular expression: {error}") from error
    names = list(names)
    found = {name for name in names if expression.search(name)}
    if not found:
        shown = ", ".join(names[:3])
        raise ValueError(f"{what} {pattern!r} matches no parameter; they are called: {shown}, ...")
    return found
