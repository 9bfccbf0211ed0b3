"""The reference: one page a room, made of the docstrings of its public names.

A room's public names are those of its `__all__`; of a room without one, and of a module, all that
begin with a letter. The sources are read, not imported.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the tests call what is below without mkdocs
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

ROOT = Path(__file__).parents[2]
# Command lines speak for themselves, with --help.
LEFT_OUT = {"diffax.commands"}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages."""
    from mkdocs.structure.files import File

    pages = {f"reference/{room}.md": page(room, names) for room, names in rooms().items()}
    for place, text in (pages | {"reference/index.md": index()}).items():
        files.append(File.generated(config, place, content=text))
    return files


def rooms() -> dict[str, list[str]]:
    """Rooms and modules of the top floor, with their public names, in alphabetical order."""
    found = {}
    for path in sorted((ROOT / "diffax").iterdir()):
        module = path / "__init__.py" if path.is_dir() else path
        if module.is_file() and module.suffix == ".py" and not path.stem.startswith("_"):
            found[f"diffax.{path.stem}"] = list(public(module))
    top = (ROOT / "diffax" / "__init__.py").read_text()
    found["diffax"] = [
        name for name in listed(top) or () if f"diffax.{name}" not in found and name[0] != "_"
    ]
    return {room: found[room] for room in sorted(found) if room not in LEFT_OUT}


def public(module: Path) -> Iterator[str]:
    """Names that a module offers; of a room also those of the rooms inside it."""
    text = module.read_text()
    names = listed(text)
    if names is not None:
        yield from names
    elif module.name != "__init__.py":
        yield from defined(text)
    if module.name != "__init__.py":
        return
    for path in sorted(module.parent.iterdir()):
        inner = path / "__init__.py"
        if inner.is_file():
            yield from (f"{path.name}.{name}" for name in public(inner))
        elif names is None and path.suffix == ".py" and not path.stem.startswith("_"):
            yield from (f"{path.stem}.{name}" for name in public(path))


def listed(text: str) -> list[str] | None:
    """The names of `__all__`, or None."""
    for node in ast.parse(text).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return sorted(ast.literal_eval(node.value), key=str.lower)
    return None


def defined(text: str) -> list[str]:
    """Functions and classes whose names begin with a letter, in the file's order."""
    kinds = (ast.FunctionDef, ast.ClassDef)
    names = [node.name for node in ast.parse(text).body if isinstance(node, kinds)]
    return [name for name in names if not name.startswith("_")]


def page(room: str, names: list[str]) -> str:
    """What mkdocstrings makes a page of."""
    path = ROOT / Path(*room.split("."))
    module = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    about = ast.get_docstring(ast.parse(module.read_text())) or ""
    return "\n\n".join([f"# {room}", about, *(f"::: {room}.{name}" for name in names)]) + "\n"


def index() -> str:
    """A list of the rooms with the first line of each."""
    lines = []
    for room in rooms():
        path = ROOT / Path(*room.split("."))
        module = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        first = (ast.get_docstring(ast.parse(module.read_text())) or "").split("\n\n")[0]
        lines.append(f"* [`{room}`]({room}.md): {' '.join(first.split())}")
    return "# Reference\n\nEvery public name, by room.\n\n" + "\n".join(lines) + "\n"
