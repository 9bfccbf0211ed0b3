"""Checks of a network's fields, made before anything is built from them.

A file may ask for a thousand million layers: that is refused here, in one line, rather than tried.
A field may hold one value or a tuple of them, also nested; every one is checked.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

WIDEST = 2**16  # channels, heads, sizes of embeddings
MOST_ROWS = 2**24  # classes, tokens, codes
MOST_LEVELS = 12  # a side of 4,096 pixels is one pixel after twelve halvings
MOST_LAYERS = 128  # of one level; transformers on top of each other

DTYPES = ("float32", "bfloat16", "float16")


def whole(
    network: Any, *names: str, low: int = 1, high: int = WIDEST, optional: bool = False
) -> None:
    """Refuses fields that are not whole numbers in `low` ... `high` (or None, if `optional`)."""

    def fits(value: Any) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high

    _check(network, names, fits, f"whole numbers from {low} to {high:,}", optional)


def number(
    network: Any,
    *names: str,
    low: float = -math.inf,
    high: float = math.inf,
    optional: bool = False,
) -> None:
    """Refuses fields that are not finite numbers in `low` ... `high` (or None, if `optional`)."""

    def fits(value: Any) -> bool:
        plain = isinstance(value, int | float) and not isinstance(value, bool)
        return plain and math.isfinite(value) and low <= value <= high

    limits = "" if math.isinf(high) else f" from {low:g} to {high:g}"
    _check(network, names, fits, f"a finite number{limits}", optional)


def one_of(network: Any, **choices: tuple) -> None:
    """Refuses fields with a value that is not among their choices."""
    for name, known in choices.items():
        words = "one of " + ", ".join("None" if k is None else str(k) for k in known)
        _check(network, (name,), lambda value, known=known: value in known, words, False)


def same_length(network: Any, *names: str, high: int = MOST_LEVELS) -> None:
    """Refuses tuples of different lengths, and empty or longer ones than `high`."""
    lengths = {name: len(getattr(network, name)) for name in names}
    if len(set(lengths.values())) > 1 or not 1 <= min(lengths.values()) <= high:
        raise ValueError(
            f"{type(network).__name__}: expected equally many entries in {', '.join(names)}, from "
            f"1 to {high}; got {', '.join(map(str, lengths.values()))}"
        )


def _check(
    network: Any, names: tuple[str, ...], fits: Callable[[Any], bool], words: str, optional: bool
) -> None:
    for name in names:
        given = getattr(network, name)
        if not all(fits(value) or (optional and value is None) for value in _values(given)):
            raise ValueError(
                f"{type(network).__name__}.{name}: expected {words}{' or None' * optional}, got "
                f"{_shown(given)}"
            )


def _values(given: Any) -> Iterator[Any]:
    if isinstance(given, tuple | list):
        for value in given:
            yield from _values(value)
    else:
        yield given


def _shown(given: Any) -> str:
    text = repr(given)
    return text if len(text) <= 80 else text[:77] + "..."
