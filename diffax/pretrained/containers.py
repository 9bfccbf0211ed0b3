"""The two ways in which PyTorch lays a pickle and the tensors' raw bytes into one file.

Neither class unpickles anything by itself: it hands open files to the reader that it is given.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any, Protocol

# An older file begins with a pickle of this number: 0x1950a86a20f9469cfc6c, protocol 2.
_LEGACY = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."

Load = Callable[[IO[bytes]], Any]
"""Reads one pickle from an open file, safely."""


class Container(Protocol):
    """Where the pickle and the raw bytes of a checkpoint lie."""

    content: Any

    def size(self, storage: str) -> int | None:
        """Bytes of a storage; None where there is none of this name."""

    def read(self, storage: str) -> bytes:
        """The bytes of a storage.

        Raises:
            ValueError: they are damaged, in words that fit "tensor X is damaged (...)".
        """


def open_container(file: Path, load: Load, sizes: Callable[[], dict[str, int]]) -> Container:
    """Opens a checkpoint of either kind.

    Args:
        file: as `torch.save` writes it.
        load: reads one pickle; called for every pickle in the file, in order.
        sizes: after `load` has met a table of tensors: bytes of one number of each storage.

    Raises:
        ValueError: neither kind, or a truncated file.
    """
    with file.open("rb") as opened:
        if opened.read(len(_LEGACY)) == _LEGACY:
            return _Legacy(file, load, sizes)
    return _Zip(file, load)


class _Zip:
    """A zip archive with `data.pkl` and one entry a storage, since PyTorch 1.6."""

    def __init__(self, file: Path, load: Load) -> None:
        try:
            self._archive = zipfile.ZipFile(file)
        except zipfile.BadZipFile as error:
            raise ValueError(f"{file}: not a complete checkpoint archive ({error})") from error
        self._sizes = {entry.filename: entry.file_size for entry in self._archive.infolist()}
        tables = [n for n in self._sizes if n.rsplit("/", 1)[-1] == "data.pkl"]
        if len(tables) != 1:
            raise ValueError(f"{file}: expected one data.pkl in the archive, found {tables}")
        self._root = tables[0].removesuffix("data.pkl")
        order = self._root + "byteorder"
        if order in self._sizes and self._archive.read(order) != b"little":
            raise ValueError(f"{file}: written on a big-endian machine; not supported")
        self.content = load(io.BytesIO(self._archive.read(tables[0])))

    def size(self, storage: str) -> int | None:
        return self._sizes.get(self._entry(storage))

    def read(self, storage: str) -> bytes:
        try:
            return self._archive.read(self._entry(storage))  # also checks the entry's CRC
        except (zipfile.BadZipFile, EOFError, OSError) as error:
            raise ValueError(str(error)) from error

    def _entry(self, storage: str) -> str:
        return f"{self._root}data/{storage}"


class _Legacy:
    """Pickles one after the other, then the storages, before PyTorch 1.6.

    The pickles are a magic number, a version, what the writing machine was like, the table of
    tensors, and the storages' names in the order in which their bytes follow; each storage begins
    with how many numbers it has, 8 bytes.
    """

    def __init__(self, file: Path, load: Load, sizes: Callable[[], dict[str, int]]) -> None:
        self._file = file
        with file.open("rb") as opened:
            _magic, version, machine = load(opened), load(opened), load(opened)
            if version != 1001:
                raise ValueError(
                    f"{file}: expected version 1001 of the format, got {version!r:.80}"
                )
            if not (isinstance(machine, dict) and machine.get("little_endian") is True):
                raise ValueError(f"{file}: written on a big-endian machine; not supported")
            self.content = load(opened)
            names = load(opened)
            if not (isinstance(names, Sequence) and all(isinstance(n, str) for n in names)):
                raise ValueError(f"{file}: expected the storages' names, got {names!r:.80}")
            self._places = self._scan(opened, names, sizes())

    def _scan(
        self, opened: IO[bytes], names: Sequence[str], sizes: dict[str, int]
    ) -> dict[str, tuple[int, int]]:
        """Where each storage begins and how many bytes it has."""
        places = {}
        end = self._file.stat().st_size
        for name in names:
            count = int.from_bytes(opened.read(8), "little")
            begin, length = opened.tell(), count * sizes.get(name, 0)
            if name not in sizes or begin + length > end:
                raise ValueError(
                    f"{self._file}: not a complete checkpoint: storage {name!r} is cut off or "
                    "belongs to no tensor; download it again"
                )
            places[name] = (begin, length)
            opened.seek(begin + length)
        return places

    def size(self, storage: str) -> int | None:
        return self._places[storage][1] if storage in self._places else None

    def read(self, storage: str) -> bytes:
        begin, length = self._places[storage]
        with self._file.open("rb") as opened:
            opened.seek(begin)
            return opened.read(length)
