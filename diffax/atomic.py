"""Files that are there whole or not at all."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import IO


def write(
    path: str | os.PathLike,
    content: bytes | Callable[[IO[bytes]], None],
    *,
    durable: bool = False,
) -> None:
    """Writes a file beside its place and then moves it there, so that a failure costs nothing old.

    Args:
        path: of the file; folders on the way are made, an older file is replaced.
        content: the bytes, or a function that writes them to the open file it is given.
        durable: return only when the file and its name are on the disk (fsync of the file and of
            its folder), so that it survives a power failure, too.

    Raises:
        OSError: "cannot write PATH: reason"; an older file is then still there, whole.

    Example:
        >>> import tempfile, pathlib
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> write(folder / "new" / "a.txt", b"abc")
        >>> (folder / "new" / "a.txt").read_bytes()
        b'abc'
    """
    path = Path(path)
    temporary = path.parent / f".{uuid.uuid4().hex}.part"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            content(file) if callable(content) else file.write(content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(temporary, path)
        if durable:
            _sync(path.parent)
    except OSError as error:
        raise OSError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):  # it is gone where all went well
            temporary.unlink()


def _sync(folder: Path) -> None:
    """Puts a folder's list of names on the disk."""
    if os.name == "nt":  # folders cannot be opened there
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
