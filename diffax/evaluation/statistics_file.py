"""Statistics of features as `.npz` files, which pytorch-fid and the OpenAI evaluator share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO

import numpy as np

from diffax import atomic
from diffax.data.npy import names, read_npz
from diffax.evaluation.statistics import Statistics

_OURS = ("count", "network", "fingerprint")  # others pass over them


def write_statistics(path: str | os.PathLike, statistics: Statistics) -> None:
    """Writes `mu` and `sigma`, and beside them how many examples, and which network.

    Args:
        path: of the file, `.npz`; written whole or not at all, folders on the way are made.
        statistics: what is written.

    Raises:
        OSError: the path cannot be written; an older file is then still there.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "statistics.npz"
        >>> write_statistics(path, Statistics(np.zeros(2), np.eye(2), 100))
        >>> read_statistics(path).count
        100
    """
    count = -1 if statistics.count is None else statistics.count

    def write(file: IO[bytes]) -> None:
        np.savez(
            file,
            mu=statistics.mean,
            sigma=statistics.covariance,
            count=np.int64(count),
            network=np.array(statistics.network, dtype=str),
            fingerprint=np.array(statistics.fingerprint, dtype=str),
        )

    atomic.write(path, write)


def read_statistics(path: str | os.PathLike) -> Statistics:
    """Reads `mu` and `sigma`; of a file by others, count and network are not known.

    Spatial statistics beside them, as OpenAI's reference files have them (`mu_s`, `sigma_s`), are
    passed over.

    Raises:
        FileNotFoundError: no such file.
        ValueError: another kind of file, or shapes or numbers that are no statistics.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path} with statistics (mu, sigma)")
    found = read_npz(path, ("mu", "sigma", *_OURS))
    if not {"mu", "sigma"} <= set(found):
        raise ValueError(
            f"{path} holds {', '.join(names(path)[:8]) or 'nothing'}; expected statistics, mu and "
            "sigma"
        )
    count = int(found.get("count", -1))
    told = (str(found.get(name, "")) for name in ("network", "fingerprint"))
    try:
        return Statistics(found["mu"], found["sigma"], None if count < 0 else count, *told)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def is_statistics(path: str | os.PathLike) -> bool:
    """Whether a `.npz` file holds statistics, rather than examples."""
    return Path(path).suffix == ".npz" and {"mu", "sigma"} <= set(names(Path(path)))
