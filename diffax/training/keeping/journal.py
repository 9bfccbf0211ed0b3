"""metrics.jsonl of a run."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

from diffax import atomic
from diffax.training.keeping import reading
from diffax.training.keeping.voice import warn

Row = dict[str, float]

MAX_BYTES = 2**30


def read_rows(path: Path) -> tuple[list[Row], int]:
    """The lines of a metrics.jsonl, and how many others were left out as damaged.

    A line counts where it is a JSON object of numbers with a "step". A last line without its end,
    which a process that was killed leaves behind, is left out without being counted.

    Args:
        path: of the file; no lines where there is none.

    Raises:
        ValueError: it is no regular file, or larger than `MAX_BYTES`.
    """
    if not path.exists():
        return [], 0
    *lines, rest = reading.read_bytes(path, MAX_BYTES).split(b"\n")
    rows = [row for line in lines if (row := _parse(line)) is not None]
    damaged = len(lines) - len(rows)
    last = _parse(rest)
    return rows + ([last] if last is not None else []), damaged


class Journal:
    """metrics.jsonl of a run.

    It holds only what is decided by the config: a run that was interrupted leaves the same file as
    one that was not. Speeds go to the other writers.

    Args:
        workdir: the run's folder.
        step: where the run continues: later lines are from a future that was lost, and are removed.
    """

    def __init__(self, workdir: Path, step: int) -> None:
        self._path = workdir / "metrics.jsonl"
        rows, damaged = read_rows(self._path)
        if damaged:
            warn(f"{self._path}: {damaged} damaged lines were left out")
        self.rows = [row for row in rows if row["step"] <= step]
        kept = "".join(json.dumps(row) + "\n" for row in self.rows).encode()
        atomic.write(self._path, kept, durable=True)
        self._good = len(kept)
        self._unwritten = b""
        self._file = open(self._path, "r+b", buffering=0)

    def write(self, row: Row) -> None:
        """Adds a line.

        Raises:
            OSError: the file could not be written. Nothing of the line is in it then, and the next
                call writes it again.
        """
        self.rows.append(row)
        self._unwritten += json.dumps(row).encode() + b"\n"
        self._file.truncate(self._good)
        self._file.seek(self._good)
        if self._file.write(self._unwritten) != len(self._unwritten):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._path))
        self._good += len(self._unwritten)
        self._unwritten = b""

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


def _parse(line: bytes) -> Row | None:
    try:
        row = reading.check_object(reading.parse(line, "line"), {"step": int})
    except ValueError:
        return None
    return row if reading.matches(row, dict[str, float]) else None
