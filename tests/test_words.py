"""What is said about names: the nearest known one, and nothing that a terminal would obey."""

import pytest

from diffax.nearest import nearest, similar
from diffax.printable import printable


def test_similar_names_are_offered_and_else_the_first_ones():
    known = [f"set_{i}" for i in range(20)]
    assert nearest("set_7x", known) == "nearest: set_7, set_17, set_9"
    assert nearest("set_7x", known, most=1) == "nearest: set_7"
    assert nearest("quite other", iter(known)) == f"there are: {', '.join(known[:12])}, ..."
    assert nearest("x", ["moons"]) == "there are: moons"
    assert similar("set_7x", known) == ["set_7", "set_17", "set_9"]
    assert similar("quite other", known) == []


@pytest.mark.parametrize(
    "text, shown",
    [
        ("ein Hündchen 😀, 犬", "ein Hündchen 😀, 犬"),
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("a\nb\r\t\x7f\x9b", r"a\nb\r\t\x7f\x9b"),
        ("abc\u202edcba", r"abc\u202edcba"),
        (b"\xff.png".decode(errors="surrogateescape"), r"\udcff.png"),
    ],
)
def test_what_a_terminal_would_obey_is_spelled_out(text, shown):
    assert printable(text) == shown
    printable(text).encode("utf-8")
