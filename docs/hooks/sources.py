"""Links out of docs/ lead to pages with the file's text: maths.md to the very line of each name.

In the repository `[`gaussian.q_sample`](../diffax/gaussian.py)` is a link to the file. In the site
it becomes one to the line on which `q_sample` is defined, looked up when the site is built.
"""

from __future__ import annotations

import ast
import os
import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the tests call what is below without mkdocs
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
LINK = re.compile(r"\[(`?)([^\[\]]*?)\1\]\(((?:\.\./)+[^)#\s]+)\)")
LANGUAGES = {".py": "python", ".json": "json", ".toml": "toml", ".ipynb": "json"}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds a page for every file that a page links to."""
    from mkdocs.structure.files import File

    targets: set[Path] = set()
    for file in files.documentation_pages():
        for _, _, link in LINK.findall(file.content_string):
            target = outside(link, file.src_uri)
            targets |= {target, *target.glob("*.py")} if target else set()
    for target in sorted(targets):
        files.append(File.generated(config, place(target), content=shown(target)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turns links out of docs/ into links to those pages."""

    def moved(match: re.Match) -> str:
        tick, text, link = match.groups()
        target = outside(link, page.file.src_uri)
        if target is None:
            return match.group()
        here = posixpath.dirname(page.file.src_uri)
        line = line_of(text, target) if tick else None
        anchor = "" if line is None else f"#__codelineno-0-{line}"
        return f"[{tick}{text}{tick}]({posixpath.relpath(place(target), here or '.')}{anchor})"

    return LINK.sub(moved, markdown)


def outside(link: str, page: str) -> Path | None:
    """The file or folder of the repository that a page's link leads to, where docs/ lacks it."""
    path = Path(os.path.normpath(ROOT / "docs" / posixpath.dirname(page) / link))
    inside = path.is_relative_to(ROOT / "docs") and path.suffix != ".ipynb"
    return path if path.exists() and not inside else None


def place(target: Path) -> str:
    """Of a file's page in the site."""
    return f"source/{target.relative_to(ROOT).as_posix()}.md"


def shown(target: Path) -> str:
    """A file's text with numbered lines; of a folder, its Python files."""
    name = target.relative_to(ROOT).as_posix()
    if target.is_dir():
        rows = [f"* [`{path.name}`]({target.name}/{path.name}.md)" for path in target.glob("*.py")]
        return f"# {name}\n\n" + "\n".join(sorted(rows)) + "\n"
    language = LANGUAGES.get(target.suffix, "text")
    text = target.read_text().rstrip("\n")
    return f'# {name}\n\n``````{language} linenums="1"\n{text}\n``````\n'


def line_of(name: str, path: Path) -> int | None:
    """The line of `function`, `room.function`, `Class`, `room.Class` or `Class.method`, or None."""
    if path.suffix != ".py":
        return None
    lines = {}
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            lines[node.name] = node.lineno
        if isinstance(node, ast.ClassDef):
            inside = [n for n in node.body if isinstance(n, ast.FunctionDef)]
            lines |= {f"{node.name}.{method.name}": method.lineno for method in inside}
    room, _, rest = name.partition(".")
    return lines.get(rest if rest and room.islower() else name)
