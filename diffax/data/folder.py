"""Files of one kind in a folder: found, read or left out, and their sub-folders as classes."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from diffax.printable import printable

_MOST_BAD = 0.5  # share of unreadable files above which a folder is refused


def find(root: Path, endings: tuple[str, ...], what: str) -> tuple[list[str], int]:
    """Sorted relative paths of the files with these endings, and the number of other files.

    Args:
        root: the folder; hidden files and folders are left out, links are followed.
        endings: in small letters, each with its dot.
        what: they hold, for messages: "images".

    Raises:
        FileNotFoundError: no such folder.
        ValueError: a file, or a folder that cannot be read.
    """
    if not root.exists():
        raise FileNotFoundError(f"there is no folder {root}; set data.dir to that of the {what}")
    if not root.is_dir():
        raise ValueError(f"expected a folder of {what}, {root} is a file")

    def refuse(error: OSError) -> None:
        name = printable(error.filename)
        raise ValueError(f"cannot read the folder {name}: {error.strerror}") from error

    names, others, seen = [], 0, set()
    for folder, below, files in os.walk(root, onerror=refuse, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:  # a link back up: its files are already in the list
            below.clear()
            continue
        seen.add(real)
        below[:] = sorted(name for name in below if not name.startswith((".", "__MACOSX")))
        for file in files:
            if file.startswith("."):
                continue
            if file.lower().endswith(endings):
                names.append(Path(folder, file).relative_to(root).as_posix())
            else:
                others += 1
    return sorted(names), others


def whole(
    root: Path, names: list[str], results: list, what: str, known: Iterable[str] = ()
) -> tuple[list[str], list, list[str]]:
    """Splits names by whether reading them gave a result or an error.

    Args:
        root: the folder.
        names: of files in it.
        results: one for each, or the error that reading it gave.
        what: they hold, for messages: "images".
        known: lines on files that were left out before.

    Returns:
        Names and results of the whole ones, and a line on each of the others.

    Raises:
        ValueError: more than half of them cannot be read.
    """
    pairs = list(zip(names, results, strict=True))
    rejects = list(known) + [reject(n, r) for n, r in pairs if isinstance(r, Exception)]
    good = [(n, r) for n, r in pairs if not isinstance(r, Exception)]
    if len(rejects) > _MOST_BAD * (len(rejects) + len(good)):
        raise ValueError(
            f"{len(rejects):,} of {len(rejects) + len(good):,} {what} in {root} cannot be read, "
            f"more than half; the first: {rejects[0]}"
        )
    return [n for n, _ in good], [r for _, r in good], rejects


def reject(name: str, error: Exception) -> str:
    """The line on a file that was left out."""
    return printable(f"{name}: {getattr(error, 'strerror', None) or error}")


def classes_of(names: list[str]) -> tuple[tuple[str, ...], np.ndarray | None]:
    """The first-level folders as classes, and each file's; none where some lie outside of them."""
    folders = [name.split("/", 1)[0] for name in names]
    classes = sorted(set(folders))
    if not all("/" in name for name in names) or len(classes) < 2:
        return (), None
    number = {name: i for i, name in enumerate(classes)}
    return tuple(classes), np.array([number[folder] for folder in folders], np.int32)
