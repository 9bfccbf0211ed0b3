"""The user's own time series, from .npy and .csv files, in windows of equal length."""

from __future__ import annotations

import csv
import hashlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from diffax.data import npy
from diffax.data.dataset import Dataset
from diffax.data.options import check_split
from diffax.data.source import Batch, Source, columns
from diffax.printable import printable

_MISSING = ("", "nan", "na", "null")  # cells, where gaps are allowed


@dataclass(frozen=True)
class TimeSeries:
    """Windows of a multivariate time series, float32 [length, C], in their own units.

    A .npy file holds one series, floating-point [T, C] or [T]. A .csv file holds a row a moment and
    a column a channel, below a line of names or none; columns that are no numbers, such as dates,
    are named in `leave_out`. The last part of the series is the split "test", so that nothing of
    it is seen in training.
    """

    dir: str | None = None
    """The .npy or .csv file."""

    length: int = 128
    """Moments in a window."""

    stride: int = 1
    """Moments from the beginning of a window to that of the next."""

    held_out: float = 0.2
    """Share, in [0, 1), of the moments, from the end, that are the split "test"."""

    leave_out: tuple[str, ...] = ()
    """Names of columns of a .csv file that are not read."""

    split: Literal["train", "test"] = "train"
    """train or test."""

    def __post_init__(self) -> None:
        """Checks every value that can be judged without looking at the data."""
        if self.length < 2:
            raise ValueError(f"data.length must be at least 2 moments, got {self.length}")
        if self.stride < 1:
            raise ValueError(f"data.stride must be at least 1, got {self.stride}")
        if not 0 <= self.held_out < 1:
            raise ValueError(f"data.held_out must lie in [0, 1), got {self.held_out}")
        if isinstance(self.leave_out, list):  # as JSON brings it back
            object.__setattr__(self, "leave_out", tuple(self.leave_out))
        check_split(self.split, ("train", "test"))

    def load(self) -> Dataset:
        """Opens the file.

        Raises:
            FileNotFoundError: no such file.
            ValueError: no numbers [T, C], some of them missing or not finite, or fewer moments than
                a window has.
        """
        if self.dir is None:
            raise ValueError("time_series needs data.dir, the path of a .npy or .csv file")
        path = Path(self.dir).expanduser()
        series = read_series(path, self.leave_out)
        border = len(series) - int(self.held_out * len(series))
        known = series[:border]  # what standardizes both splits
        part = known if self.split == "train" else series[border:]
        if len(part) < self.length:
            raise ValueError(
                f"{path}: the split {self.split} has {len(part):,} of {len(series):,} moments, "
                f"fewer than data.length {self.length}; shorten the windows or change data.held_out"
            )
        starts = np.arange(0, len(part) - self.length + 1, self.stride, dtype=np.int64)

        def read(rows: np.ndarray) -> Batch:
            return {"x": part[starts[rows][:, None] + np.arange(self.length)].astype(np.float32)}

        std = known.std(axis=0)
        source = Source(
            columns=columns((self.length, series.shape[1]), "float32"),
            size=len(starts),
            read=read,
            mean=tuple(known.mean(axis=0).tolist()),
            std=tuple(np.where(std > 0, std, 1.0).tolist()),
            fingerprint=hashlib.sha256(series.tobytes()).hexdigest(),
            notes=(f"from {path}: {len(series):,} moments of {series.shape[1]} channels",),
        )
        return Dataset(f"time_series ({self.split})", source)


def read_series(path: Path, leave_out: tuple[str, ...] = (), *, gaps: bool = False) -> np.ndarray:
    """A series, float64 [T, C].

    Args:
        path: of a .npy or .csv file.
        leave_out: names of columns of a .csv file that are not read.
        gaps: what is missing (nan, na, null, an empty cell) comes as NaN; else it is refused.

    Raises:
        FileNotFoundError: no such file.
        ValueError: another kind of file, or no numbers [T, C].
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}; give a .npy or .csv file")
    if path.suffix not in (".npy", ".csv"):
        raise ValueError(f"expected a .npy or .csv file, got {path}")
    return _of_npy(path, gaps) if path.suffix == ".npy" else _of_csv(path, leave_out, gaps)


def _of_npy(path: Path, gaps: bool) -> np.ndarray:
    """float64 [T, C]."""
    series = npy.open_npy(path)
    if series.ndim not in (1, 2) or series.dtype.kind not in "fiu" or not series.size:
        raise ValueError(
            f"{path}: expected a series of numbers [T, C] or [T], got {series.dtype} "
            f"{list(series.shape)}; for windows [N, L, C] use --data array"
        )
    series = np.asarray(series, np.float64).reshape(len(series), -1)
    bad = ~(np.isfinite(series) | (gaps & np.isnan(series))).all(axis=1)
    if bad.any():
        raise ValueError(
            f"{path}: expected finite numbers, row {int(bad.argmax())} has others; fill the gaps"
        )
    return series


def _of_csv(path: Path, leave_out: tuple[str, ...], gaps: bool) -> np.ndarray:
    """float64 [T, C]."""

    def number(cell: str) -> float | None:
        return math.nan if gaps and cell.strip().lower() in _MISSING else _number(cell)

    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            rows = [row for row in csv.reader(file) if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} cannot be read as a .csv file of UTF-8: {error}") from error
    if not rows:
        raise ValueError(f"{path} is empty")
    names = rows[0] if any(number(cell) is None for cell in rows[0]) else []
    unknown = set(leave_out) - set(names)
    if unknown:
        raise ValueError(
            f"data.leave_out: {path} has no column {sorted(unknown)[0]!r}, it has "
            f"{printable(', '.join(names)) or 'no names'}"
        )
    kept = [i for i in range(len(rows[0])) if not names or names[i] not in leave_out]
    values = []
    for line, row in enumerate(rows[bool(names) :], start=1 + bool(names)):
        numbers = [number(row[i]) if i < len(row) else None for i in kept]
        if None in numbers or len(row) != len(rows[0]):
            cell = next((row[i] for i in kept if i < len(row) and number(row[i]) is None), "")
            remedy = "fill the gap, or name the column in data.leave_out"
            remedy = "leave the column out" if gaps else remedy
            raise ValueError(
                f"{path}, line {line}: expected {len(rows[0])} cells of finite numbers, got "
                f"{len(row)} cells, {printable(cell)!r} among them; {remedy}"
            )
        values.append(numbers)
    if not values or not kept:
        raise ValueError(f"{path} holds no numbers below its names")
    return np.array(values, np.float64)


def _number(cell: str) -> float | None:
    """A finite number, or None."""
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if np.isfinite(value) else None
