"""The documentation site: every public name, every line that the maths links to, every page."""

import ast
import importlib
import importlib.util
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

import diffax

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def hook(name):
    """One of docs/hooks, which the site's generator calls."""
    spec = importlib.util.spec_from_file_location(name, DOCS / "hooks" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def rooms_with_names():
    """Every module of the package that says what it offers, by importing it."""
    for path in sorted((ROOT / "diffax").rglob("__init__.py")):
        name = ".".join(path.parent.relative_to(ROOT).parts)
        names = getattr(importlib.import_module(name), "__all__", None)
        if names is not None:
            yield name, names


def test_every_public_name_is_in_the_reference():
    reference = hook("reference")
    written = "".join(reference.page(room, names) for room, names in reference.rooms().items())
    entries = set(re.findall(r"^::: (.*)$", written, flags=re.M))
    pages = set(reference.rooms())
    for room, names in rooms_with_names():
        missing = {f"{room}.{name}" for name in names if name[0] != "_"} - entries - pages
        assert not missing, f"not in the reference: {sorted(missing)}"
    # Modules of one file, and rooms without a list of names.
    assert {"diffax.gaussian.posterior", "diffax.models.blocks.residual.ResidualBlock"} <= entries
    assert not any("._" in entry for entry in entries)


def test_every_formula_links_to_the_line_that_defines_it():
    sources = hook("sources")
    links = [
        (text, sources.outside(link, "maths.md"))
        for tick, text, link in sources.LINK.findall((DOCS / "maths.md").read_text())
        if tick
    ]
    assert len(links) > 50
    for name, path in links:
        line = sources.line_of(name, path)
        assert line is not None, f"{name} is not in {path.name}"
        text = path.read_text().splitlines()[line - 1]
        assert re.match(rf"\s*(def|class) {name.rpartition('.')[2]}\b", text), (name, text)


def test_every_page_has_a_place_in_the_navigation():
    config = (ROOT / "mkdocs.yml").read_text()
    listed = set(re.findall(r": ([\w/]+)\.md$", config[config.index("\nnav:") :], flags=re.M))
    pages = {page.stem for page in DOCS.glob("*.md")}
    pages |= {f"notebooks/{path.stem}" for path in (DOCS / "notebooks").glob("*.ipynb")}
    assert pages - listed == set(), "add them to nav in mkdocs.yml"
    assert listed - pages == {"index", "reference/index", "contributing", "changelog"}


PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_of_a_page_lead_somewhere(page):
    for link in re.findall(r"\]\((?!https?:)([^)\s]+)\)", page.read_text()):
        path, _, anchor = link.partition("#")
        target = (page.parent / path) if path else page
        if page.parent == DOCS and path.startswith("notebooks/"):
            target = target.with_suffix(".ipynb")
        assert target.exists(), f"{page.name} links to {link}"
        if anchor and target.suffix == ".md":
            heads = re.findall(r"^#+ (.*)$", target.read_text(), flags=re.M)
            slugs = [re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads]
            assert anchor in slugs, f"{page.name} links to {link}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_on_a_page_names_what_there_is(page):
    """Every block is Python, and every name of diffax in it exists."""
    for block in re.findall(r"```python\n(.*?)```", page.read_text(), flags=re.S):
        tree = ast.parse(block)
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("diffax"):
                module = importlib.import_module(node.module)
                for alias in node.names:
                    assert hasattr(module, alias.name), f"{node.module}.{alias.name}"
            elif isinstance(node, ast.Attribute):
                _check_chain(ast.unparse(node))


def _check_chain(text):
    """`diffax.room.name` exists; what hangs on an object is not known here."""
    first, *names = text.split(".")
    if first != "diffax" or not all(name.isidentifier() for name in names):
        return
    found = diffax
    for name in names:
        assert hasattr(found, name), text
        found = getattr(found, name)


class Links(HTMLParser):
    """What a page asks for, where it leads, and the places in it."""

    def __init__(self, text):
        super().__init__()
        self.asked, self.leads, self.ids = [], [], set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.ids |= {values[name] for name in ("id", "name") if name in values}
        if tag == "a":
            self.leads.append(values.get("href") or "")
        elif tag != "link" or "canonical" not in (values.get("rel") or ""):
            self.asked += [values[name] or "" for name in ("src", "href") if name in values]


@pytest.mark.slow
def test_the_site_builds_strict_and_asks_nobody(tmp_path):
    pytest.importorskip("mkdocs", reason="pip install -e '.[docs]'")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "WARNING" not in done.stderr

    pages = {path: Links(path.read_text()) for path in tmp_path.rglob("*.html")}
    for path, page in pages.items():
        outside = [link for link in page.asked if re.match(r"(https?:)?//", link)]
        assert not outside, (path, outside)
    # The maths leads to lines that are there.
    lines = [link for link in pages[tmp_path / "maths.html"].leads if "#__codelineno" in link]
    assert len(lines) > 50
    for link in lines:
        name, _, anchor = link.partition("#")
        assert anchor in pages[tmp_path / name].ids, link
    # Every public name has a place in the built reference.
    reference = hook("reference")
    for room, names in reference.rooms().items():
        ids = pages[tmp_path / "reference" / f"{room}.html"].ids
        missing = [name for name in names if f"{room}.{name}" not in ids]
        assert not missing, (room, missing)
