"""A folder's checksums: written last, they say that it is whole; read first, what is broken."""

from __future__ import annotations

import hashlib
import json
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from diffax import atomic
from diffax.training.keeping import reading

NAME = "manifest.json"


def write(folder: Path) -> None:
    """Writes the size and SHA-256 of every file in a folder, atomically and durably.

    Args:
        folder: holds the files, in any depth; from now on they must not change.
    """
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.name != NAME)
    with ThreadPoolExecutor(max_workers=4) as pool:
        entries = {
            p.relative_to(folder).as_posix(): {"size": p.stat().st_size, "sha256": digest}
            for p, digest in zip(files, pool.map(_digest, files), strict=True)
        }
    atomic.write(folder / NAME, _serialise(entries), durable=True)


def problems(folder: Path) -> list[str]:
    """What is wrong with a folder: one line a file, nothing where it is whole.

    A folder without a manifest was never finished; `is_finished` tells. Whoever can write into
    the folder can make another manifest that fits: it guards against damage, not against people.
    Nothing but regular files in the folder is opened, and none whose size is another.
    """
    try:
        raw = reading.read_bytes(folder / NAME)
        entries = reading.check_object(reading.parse(raw, NAME), {"files": dict[str, dict]})[
            "files"
        ]
        if raw != _serialise(entries):
            raise ValueError
        for entry in entries.values():
            reading.check_object(entry, {"size": int, "sha256": str})
    except (OSError, ValueError):
        return [f"{NAME} is damaged" if is_finished(folder) else f"{NAME} is missing"]
    with ThreadPoolExecutor(max_workers=4) as pool:
        found = pool.map(lambda item: _problem(folder, *item), entries.items())
        return [problem for problem in found if problem]


def is_finished(folder: Path) -> bool:
    """Whether a manifest was written, be it right or wrong by now."""
    return (folder / NAME).is_file()


def _problem(folder: Path, name: str, entry: dict) -> str | None:
    path = folder / name
    try:
        if not _is_inside(folder, path):
            return f"{NAME} names {name!r}, which is outside"
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode):
            return f"{name} is no regular file"
        if status.st_size != entry["size"]:
            return f"{name} has {status.st_size:,} bytes instead of {entry['size']:,}"
        return None if _digest(path) == entry["sha256"] else f"{name} has a wrong checksum"
    except FileNotFoundError:
        return f"{name} is missing"
    except (OSError, ValueError) as error:  # ValueError: a NUL in a name
        return f"{name} cannot be read ({getattr(error, 'strerror', error)})"


def _is_inside(folder: Path, path: Path) -> bool:
    """Whether a path stays in a folder, by its own text and past any links on its way."""
    if not path.is_relative_to(folder) or ".." in path.relative_to(folder).parts:
        return False
    return path.parent.resolve().is_relative_to(folder.resolve())


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _serialise(entries: dict) -> bytes:
    body = json.dumps(entries, sort_keys=True)
    whole = {"files": entries, "sha256": hashlib.sha256(body.encode()).hexdigest()}
    return json.dumps(whole, sort_keys=True, indent=1).encode()
