"""Whether values from a JSON file have the types that are expected of them."""

from __future__ import annotations

import math
import types
import typing
from collections.abc import Mapping
from typing import Any

# Beyond it a number is no setting, and does not fit a program's int32.
LARGEST = 2**31 - 1


def check_types(where: str, values: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """Refuses values of another type, all of them in one line.

    Args:
        where: what they are settings of, for the error.
        values: from a JSON file.
        expected: a type for each, such as `int | tuple[int, ...] | None`; lists count as tuples.

    Raises:
        ValueError: names each wrong value and what it should be.

    Example:
        >>> check_types("unet", {"layers": "2"}, {"layers": int})
        Traceback (most recent call last):
        ValueError: unet with layers = '2' (expected int) is not supported
    """
    wrong = [
        f"{key} = {shown(value)} (expected {_name(expected[key])})"
        for key, value in values.items()
        if not fits(value, expected[key])
    ]
    if wrong:
        raise ValueError(f"{where} with {'; '.join(wrong)} is not supported")


def fits(value: Any, kind: Any) -> bool:
    """Whether a JSON value is of a type."""
    if kind is Any:
        return not isinstance(value, dict)
    if kind is None or kind is type(None):
        return value is None
    origin, inside = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        return any(fits(value, one) for one in inside)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            return False
        if inside[-1] is Ellipsis:
            return len(value) > 0 and all(fits(one, inside[0]) for one in value)
        return len(value) == len(inside) and all(map(fits, value, inside))
    if kind in (int, float):
        numbers = int if kind is int else int | float
        if not isinstance(value, numbers) or isinstance(value, bool):
            return False
        # In this order: a whole number of 400 digits cannot be made a float.
        return abs(value) <= LARGEST and math.isfinite(value)
    return isinstance(value, kind)


def shown(value: Any) -> str:
    """A value, short enough for one line."""
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _name(kind: Any) -> str:
    return kind.__name__ if isinstance(kind, type) and not typing.get_args(kind) else str(kind)
