"""HTML pages that need no other file: tables, lists, images as data."""

from __future__ import annotations

import base64
import html as escaping
import math
from collections.abc import Iterable, Sequence
from typing import Any

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;color:#222;max-width:70em;margin:2em auto;"
    "padding:0 1.5em;box-sizing:border-box}"
    "h1{font-size:1.4em}h2{font-size:1.1em;margin-top:1.6em}table{border-collapse:collapse}"
    "th,td{text-align:left;padding:.2em 1.2em .2em 0;border-bottom:1px solid #ddd}"
    "td:not(:first-child){font-variant-numeric:tabular-nums}"
    "main{display:flex;flex-wrap:wrap;gap:1.5em;margin-top:1.6em}"
    "figure{margin:0;flex:1 1 28em;max-width:34em}"
    "img{max-width:100%;height:auto}figcaption{font-weight:600}"
    "pre{font-size:13px;overflow:auto}summary{font-weight:600;cursor:pointer;margin-top:1.6em}"
)


def html(title: str, sections: Iterable[str]) -> str:
    """The page; nothing in it is read from elsewhere."""
    title = escaping.escape(title)
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{_STYLE}</style></head><body>\n<h1>{title}</h1>\n"
        + "\n".join(sections)
        + "\n</body></html>\n"
    )


def rows(head: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    """A table of texts with a head."""
    return f"<table>{_row('th', head)}{''.join(_row('td', row) for row in body)}</table>"


def table(title: str, figures: Iterable[tuple[str, Any]]) -> str:
    """Names and values under a title."""
    body = "".join(_row("td", (name.replace("_", " "), short(v))) for name, v in figures)
    return f"<h2>{escaping.escape(title)}</h2>\n<table>{body}</table>"


def listed(lines: Iterable[str]) -> str:
    """Lines of text."""
    return f"<ul>{''.join(f'<li>{escaping.escape(line)}</li>' for line in lines)}</ul>"


def folded(title: str, text: str) -> str:
    """A text as it is, shown on a click."""
    title, text = escaping.escape(title), escaping.escape(text)
    return f"<details><summary>{title}</summary><pre>{text}</pre></details>"


def gallery(images: Iterable[tuple[str, str, bytes]]) -> str:
    """Images side by side.

    Args:
        images: caption, type ("png", "gif") and bytes of each.
    """
    return f"<main>{''.join(_figure(*image) for image in images)}</main>"


def short(value: Any) -> str:
    """A figure in four digits; nothing for None."""
    if value is None:
        return ""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _row(tag: str, cells: Sequence[str]) -> str:
    return "<tr>" + "".join(f"<{tag}>{escaping.escape(cell)}</{tag}>" for cell in cells) + "</tr>"


def _figure(caption: str, kind: str, data: bytes) -> str:
    caption, encoded = escaping.escape(caption), base64.b64encode(data).decode()
    return (
        f"<figure><figcaption>{caption}</figcaption>"
        f'<img alt="{caption}" src="data:image/{kind};base64,{encoded}"></figure>\n'
    )
