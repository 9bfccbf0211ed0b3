"""What was probably meant by a name that does not exist."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_SIMILAR = 0.5  # difflib's ratio from which on a name is offered
_LISTED = 12


def nearest(name: str, known: Iterable[str], *, most: int = 3) -> str:
    """A half-sentence that offers what was probably meant, for the end of an error's line.

    Args:
        name: what was asked for.
        known: the names there are.
        most: how many similar names are offered at most.

    Returns:
        "nearest: ..." where similar names are known, else "there are: ..." with the first twelve.

    Example:
        >>> nearest("s_curv", ["moons", "s_curve", "spiral"])
        'nearest: s_curve'
        >>> nearest("cat", ["moons", "spiral"])
        'there are: moons, spiral'
    """
    known = list(known)
    near = similar(name, known, most=most)
    if near:
        return f"nearest: {', '.join(near)}"
    return f"there are: {', '.join(known[:_LISTED])}" + (", ..." if len(known) > _LISTED else "")


def similar(name: str, known: Iterable[str], *, most: int = 3) -> list[str]:
    """The names most like one that does not exist, best first; none where none is like it.

    Example:
        >>> similar("s_curv", ["moons", "s_curve", "spiral"])
        ['s_curve']
    """
    return difflib.get_close_matches(name, list(known), n=most, cutoff=_SIMILAR)
