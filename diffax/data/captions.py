"""Texts that belong to images: tables called metadata.jsonl, or .txt files beside the images."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path

from diffax.printable import printable


def find(root: Path, names: list[str]) -> tuple[tuple[str, ...], int, list[str]]:
    """Finds one text an image.

    Args:
        root: the folder.
        names: of the images, relative to it.

    Returns:
        The texts in the images' order (an empty one where there is none), how many files they were
        read from, and lines for the report.

    Raises:
        ValueError: no image has a text, or a file of texts cannot be read.
    """
    texts: dict[str, str] = {}
    files = 0
    folders = {root, *(root / parent for name in names for parent in Path(name).parents)}
    for table in (folder / "metadata.jsonl" for folder in sorted(folders)):
        if table.is_file():
            files += 1
            texts |= dict(_table(root, table))
    for name in names:
        beside = (root / name).with_suffix(".txt")
        if name not in texts and beside.is_file():
            files += 1
            texts[name] = _read(beside).strip()
    missing = [name for name in names if not texts.get(name)]
    if len(missing) == len(names):
        raise ValueError(
            f"data.captions is on, but no image in {root} has one: expected metadata.jsonl with "
            'lines {"file_name": ..., "text": ...}, or a .txt file beside each image'
        )
    found = tuple(texts.get(name, "") for name in names)
    notes = [f"captions: {len(names) - len(missing):,}, the first: {next(filter(None, found))}"]
    if missing:
        notes.append(
            f"{len(missing):,} images without a caption get an empty one; the first: {missing[0]}"
        )
    return found, files, notes


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{printable(path)}: expected text in UTF-8, byte {error.start} is not"
        ) from error


def _table(root: Path, path: Path) -> Iterable[tuple[str, str]]:
    """(name of an image relative to `root`, its text) for every line."""
    for number, line in enumerate(_read(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            file, text = row["file_name"], row["text"]
            if not (isinstance(file, str) and isinstance(text, str)):
                raise TypeError("not texts")
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise ValueError(
                f'{printable(path)}, line {number}: expected {{"file_name": ..., "text": ...}}, '
                f"got {line[:80]!r}"
            ) from error
        yield os.path.relpath(os.path.normpath(path.parent / file), root).replace(os.sep, "/"), text
