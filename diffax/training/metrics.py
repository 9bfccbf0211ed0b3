"""What a run measures of itself: per step on the devices, per line in metrics.jsonl."""

from __future__ import annotations

import errno
import json
import os
import statistics
from collections import deque
from pathlib import Path
from typing import Any

import jax
import numpy as np

from diffax.training import manifest
from diffax.training.step import BUCKETS

Row = dict[str, float]


class NonFinite(ArithmeticError):
    """A loss or a gradient was not finite."""


class Window:
    """The metrics of the steps since the last line, in order.

    They stay on the devices until somebody wants them, so that the devices never wait.
    """

    def __init__(self, saved: dict[str, list] | None = None) -> None:
        self._pending: deque[tuple[int, int, Any]] = deque()
        self._steps: dict[str, list] = {} if saved is None else dict(saved)

    def add(self, first: int, count: int, metrics: dict[str, jax.Array]) -> None:
        """Takes a call's metrics, [k, ...], of which the first `count` count."""
        self._pending.append((first, count, metrics))

    def keep_up(self, ahead: int = 1) -> None:
        """Waits until at most so many calls are still being computed."""
        for _, _, metrics in list(self._pending)[: max(0, len(self._pending) - ahead)]:
            jax.block_until_ready(metrics["loss"])

    def collect(self, *, refuse_nonfinite: bool) -> None:
        """Brings everything to the host.

        Raises:
            NonFinite: a number was not finite; the message names the step.
        """
        while self._pending:
            first, count, metrics = self._pending.popleft()
            host = {name: value[:count] for name, value in jax.device_get(metrics).items()}
            if refuse_nonfinite and not host["finite"].all():
                bad = int(np.argmin(host["finite"]))
                loss, norm = (float(host[n][bad]) for n in ("loss", "gradient_norm"))
                raise NonFinite(
                    f"loss {loss:g}, gradient norm {norm:g} at step {first + bad + 1} "
                    f"(in the call of steps {first + 1} to {first + count})"
                )
            for name, value in host.items():
                self._steps.setdefault(name, []).extend(value.tolist())

    def row(self) -> Row:
        """The means over all finite steps of the window, which is empty afterwards."""
        steps = {name: np.asarray(values, np.float64) for name, values in self._steps.items()}
        self._steps = {}
        good = steps["finite"] > 0
        row: Row = {}
        for name in ("loss", "gradient_norm", "update_ratio"):
            if good.any():
                row[name] = float(steps[name][good].mean())
        sums, counts = (steps[f"bucket_{name}"][good].sum(0) for name in ("sum", "count"))
        for i in range(BUCKETS):
            if counts[i]:
                row[f"loss_t{i + 1}"] = float(sums[i] / counts[i])
        if not good.all():
            row["nonfinite"] = int((~good).sum())
        return row

    def saved(self) -> dict[str, list]:
        """Plain data from which `Window(saved)` goes on; after `collect`."""
        assert not self._pending
        return {name: list(values) for name, values in self._steps.items()}


class SpikeDetector:
    """Notices a loss far above what it was.

    Args:
        factor: how many times the median of the lines before; 0: never notice.
        history: earlier losses.
    """

    def __init__(self, factor: float, history: list[float]) -> None:
        self._factor = factor
        self._recent: deque[float] = deque(history[-20:], maxlen=20)

    def check(self, loss: float) -> str | None:
        """A warning, or None; at least five lines are needed to judge."""
        warning = None
        if self._factor and len(self._recent) >= 5:
            usual = statistics.median(self._recent)
            if loss > self._factor * usual:
                warning = f"loss {loss:.4g} is {loss / usual:.1f} times the usual {usual:.4g}"
        self._recent.append(loss)
        return warning


class Journal:
    """metrics.jsonl and TensorBoard events of a run.

    metrics.jsonl holds only what is decided by the config: a run that was interrupted leaves the
    same file as one that was not. Speeds go to TensorBoard.

    Args:
        workdir: the run's folder.
        step: where the run continues: later lines are from a future that was lost, and are removed.
        tensorboard: write events too.
    """

    def __init__(self, workdir: Path, step: int, *, tensorboard: bool) -> None:
        self._path = workdir / "metrics.jsonl"
        lines = self._path.read_text().splitlines() if self._path.exists() else []
        self.rows = [row for row in map(_parse, lines) if row and row["step"] <= step]
        kept = "".join(json.dumps(row) + "\n" for row in self.rows).encode()
        manifest.write_durably(self._path, kept)
        self._good = len(kept)
        self._unwritten = b""
        self._file = open(self._path, "r+b", buffering=0)
        self._board = None
        if tensorboard:
            from tensorboardX import SummaryWriter  # slow to import: only where it is wanted

            self._board = SummaryWriter(
                str(workdir), purge_step=step + 1 if step else None, flush_secs=30
            )

    def write(self, row: Row, **more: float) -> None:
        """Adds a line; `more` goes to TensorBoard only.

        Raises:
            OSError: the file could not be written. Nothing of the line is in it then, and the next
                call writes it again.
        """
        self.rows.append(row)
        if self._board is not None:
            for name, value in (row | more).items():
                if name != "step":
                    self._board.add_scalar(name, value, row["step"])
        self._unwritten += json.dumps(row).encode() + b"\n"
        self._file.truncate(self._good)
        self._file.seek(self._good)
        if self._file.write(self._unwritten) != len(self._unwritten):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._path))
        self._good += len(self._unwritten)
        self._unwritten = b""

    def picture(self, name: str, image: np.ndarray, step: int) -> None:
        """Shows a picture, uint8 [H, W, C], in TensorBoard."""
        if self._board is not None:
            self._board.add_image(name, image, step, dataformats="HWC")

    def close(self) -> None:
        """Writes what is still in memory."""
        self._file.close()
        if self._board is not None:
            self._board.close()


def _parse(line: str) -> Row | None:
    try:
        row = json.loads(line)
    except json.JSONDecodeError:  # the last line of a process that was killed
        return None
    return row if isinstance(row, dict) and "step" in row else None
