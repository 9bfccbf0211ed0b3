"""A folder in an object store: whole files, by their names."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from diffax.training.keeping import voice

_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+://.+")
_PACKAGES = {"gs": "diffax[gcs]", "gcs": "diffax[gcs]", "s3": "diffax[s3]"}


def is_address(text: str) -> bool:
    """Whether a text is an address such as gs://BUCKET/RUN, and no path of this machine.

    Example:
        >>> is_address("gs://bucket/run"), is_address("runs/digits")
        (True, False)
    """
    return _ADDRESS.fullmatch(text) is not None


class Bucket:
    """What lies under an address.

    Args:
        address: gs://BUCKET/RUN, s3://BUCKET/RUN or another address that fsspec knows.

    Raises:
        ValueError: no address, or the package for such addresses is missing.

    Example:
        >>> Bucket("runs/copy")
        Traceback (most recent call last):
        ValueError: runs/copy is no address; expected for instance gs://BUCKET/RUN
    """

    def __init__(self, address: str) -> None:
        if not is_address(address):
            raise ValueError(f"{address} is no address; expected for instance gs://BUCKET/RUN")
        self.address = address.rstrip("/")
        self._store, self._root = _store(address)

    def files(self) -> dict[str, int]:
        """Sizes of all files by their names.

        Raises:
            ValueError: it cannot be read.
        """
        with self._readable():
            self._store.invalidate_cache()
            found = self._store.find(self._root, detail=True)
        start = len(self._root) + 1
        sizes = {path[start:]: int(info["size"] or 0) for path, info in found.items()}
        return {name: size for name, size in sizes.items() if ".." not in name.split("/")}

    def read(self, name: str) -> bytes:
        """A file's bytes; raises as `files`."""
        with self._readable():
            return self._store.cat_file(f"{self._root}/{name}")

    def get(self, name: str, folder: Path) -> None:
        """Puts a file into a folder under its own name, whole or not at all; raises as `files`."""
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        # Processes of one machine may fetch the same file.
        temporary = path.parent / f".{path.name}.{os.getpid()}.part"
        with self._readable():
            self._store.get_file(f"{self._root}/{name}", str(temporary))
        os.replace(temporary, path)

    def put(self, path: Path, name: str) -> None:
        """Puts a file there, whole or not at all; raises whatever the store does."""
        self._store.put_file(str(path), f"{self._root}/{name}")

    def remove(self, name: str) -> None:
        """Removes a file; raises whatever the store does."""
        self._store.rm_file(f"{self._root}/{name}")

    @contextlib.contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # each store has errors of its own
            text = voice.one_line(error) or type(error).__name__
            raise ValueError(f"{self.address} cannot be read: {text[:300]}") from error


def _store(address: str) -> tuple[Any, str]:
    """The file system of an address, and the path there."""
    from fsspec.core import url_to_fs  # slow to import

    try:
        store, root = url_to_fs(address)
    except ImportError as error:
        package = _PACKAGES.get(address.partition(":")[0])
        remedy = f"pip install '{package}'" if package else voice.one_line(error)
        raise ValueError(f"{address} needs a package: {remedy}") from error
    except ValueError as error:
        raise ValueError(f"{address}: {voice.one_line(error)}") from error
    if hasattr(store, "auto_mkdir"):  # file://, where folders are not made of names
        store.auto_mkdir = True
    return store, root.rstrip("/")
