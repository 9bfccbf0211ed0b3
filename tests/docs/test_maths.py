"""Every name that docs/maths.md links to is defined in the file it links to."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "maths.md").read_text()
LINKS = sorted(set(re.findall(r"\[`([\w.]+)`\]\(\.\./(diffax/[\w/]+\.py)\)", TEXT)))


def defined_in(path: str) -> set[str]:
    """Functions, classes and methods of a file, methods as `Class.method`."""
    names = set()
    for node in ast.parse((ROOT / path).read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            inside = [n for n in node.body if isinstance(n, ast.FunctionDef)]
            names |= {f"{node.name}.{method.name}" for method in inside}
    return names


@pytest.mark.parametrize("name, path", LINKS)
def test_every_linked_name_is_in_its_file(name, path):
    room, _, rest = name.partition(".")
    assert (rest if room.islower() else name) in defined_in(path)


def test_every_row_of_code_has_its_link():
    rows = [line for line in TEXT.splitlines() if line.startswith("|") and "`" in line]
    unlinked = [row for row in rows if "](../diffax/" not in row]
    # The table of sensitivities stands below the link of its one function.
    assert [row.split("|")[1].strip() for row in unlinked] == ["sensitivity", "all others"]
