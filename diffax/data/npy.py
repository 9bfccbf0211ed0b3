"""NumPy's .npy and .npz files as plain numbers and texts, however their headers lie."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np

from diffax.printable import printable

_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def open_npy(path: Path) -> np.ndarray:
    """The array of a .npy file through a memory map, so it may be larger than memory.

    Raises:
        ValueError: what lies in the file are not plain numbers or texts, or not as many as its
            header says.
    """
    with _refusing(path):
        with open(path, "rb") as file:
            _check_header(file, path.stat().st_size)
        return np.load(path, mmap_mode="r", allow_pickle=False)


def read_npz(path: Path, keys: Iterable[str]) -> dict[str, np.ndarray]:
    """Those of the named arrays that a .npz file holds.

    Args:
        path: of the file.
        keys: names of arrays.

    Raises:
        ValueError: as for `open_npy`.
    """
    found = {}
    with _refusing(path), zipfile.ZipFile(path) as archive:
        held = set(archive.namelist())
        for key in keys:
            if f"{key}.npy" not in held:
                continue
            member = archive.getinfo(f"{key}.npy")
            with archive.open(member) as file:
                _check_header(file, member.file_size)
            with archive.open(member) as file:
                found[key] = np.lib.format.read_array(file, allow_pickle=False)
    return found


def names(path: Path) -> list[str]:
    """Names of the arrays in a .npz file."""
    with _refusing(path), zipfile.ZipFile(path) as archive:
        return [name.removesuffix(".npy") for name in archive.namelist()]


def _check_header(file: IO[bytes], length: int) -> None:
    """Refuses before any memory is taken what is no array, or has no right to its size."""
    version = np.lib.format.read_magic(file)
    if version not in _HEADERS:
        raise ValueError(f"expected format {' or '.join(map(str, _HEADERS))}, got {version}")
    shape, fortran, dtype = _HEADERS[version](file)
    if dtype.hasobject:
        raise ValueError(
            "arrays of Python objects are refused because opening them can run code; "
            "texts are saved as np.array(texts, dtype=str)"
        )
    have = length - file.tell()
    if any(side < 0 for side in shape) or math.prod(shape) * dtype.itemsize > have:
        raise ValueError(
            f"its header says {dtype} {list(shape)}, but only {have:,} bytes follow; "
            "it was cut off or damaged"
        )
    if fortran and len(shape) > 1:
        raise ValueError(
            "its examples do not lie one after the other (Fortran order); save "
            "np.ascontiguousarray(array) instead"
        )


@contextmanager
def _refusing(path: Path) -> Iterator[None]:
    """Turns whatever broken files raise into one line that names the file."""
    try:
        yield
    except Exception as error:  # foreign bytes go through parsers that raise many kinds
        reason = printable(str(error).strip().split("\n")[0] or type(error).__name__)
        raise ValueError(f"{path} cannot be read: {reason}") from error
