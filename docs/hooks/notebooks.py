"""Notebooks as pages: docs/notebooks/NAME.ipynb becomes notebooks/NAME.md."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

FOLDER = Path(__file__).parents[1] / "notebooks"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds a page for every notebook."""
    for path in sorted(FOLDER.glob("*.ipynb")):
        text = page(json.loads(path.read_text()), path.name)
        files.append(File.generated(config, f"notebooks/{path.stem}.md", content=text))
    return files


def page(notebook: dict[str, Any], name: str) -> str:
    """The cells as Markdown, with what they printed and drew when they were last run."""
    parts = [part for cell in notebook["cells"] for part in _cell(cell)]
    where = f"*This page is the notebook [`docs/notebooks/{name}`](../../docs/notebooks/{name}).*"
    return "\n\n".join([parts[0], where, *parts[1:]]) + "\n"


def _cell(cell: dict[str, Any]) -> Iterator[str]:
    text = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        yield text
        return
    yield f"```python\n{text}\n```"
    for output in cell["outputs"]:
        data = output.get("data", {})
        if "image/png" in data:
            yield f"![](data:image/png;base64,{''.join(data['image/png']).strip()})"
        elif printed := "".join(output.get("text", data.get("text/plain", ()))).rstrip():
            yield f"```text\n{printed}\n```"
