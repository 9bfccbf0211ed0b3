"""The site's front page is README.md; CONTRIBUTING.md and CHANGELOG.md stand beside it."""

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages, with links that start at docs/ instead of the repository's root."""
    for source, place in PAGES.items():
        text = re.sub(r"\]\((?!https?:|#)", "](../", (ROOT / source).read_text())
        text = text.replace("](../docs/", "](").replace(".ipynb)", ".md)")
        for other, page in PAGES.items():
            text = text.replace(f"](../{other}", f"]({page}")
        files.append(File.generated(config, place, content=text))
    return files
