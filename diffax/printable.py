"""Text from files, made safe for a terminal."""

from __future__ import annotations


def printable(text: object) -> str:
    r"""Text in which every character that a terminal would obey instead of show is spelled out.

    File names, captions and error texts of foreign files may hold escape sequences, line breaks,
    marks that reverse the reading direction, or bytes that are no text.

    Args:
        text: anything; its `str` is taken.

    Returns:
        One line of characters that can be printed; the others as backslash escapes.

    Example:
        >>> printable("cat\x1b[2J.png")
        'cat\\x1b[2J.png'
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))
