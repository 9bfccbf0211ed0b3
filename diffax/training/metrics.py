"""What a run measures of itself: per step on the devices, per line in metrics.jsonl."""

from __future__ import annotations

import reprlib
import statistics
from collections import deque
from typing import Any

import jax
import numpy as np

from diffax.training.keeping import reading
from diffax.training.keeping.journal import Row


class NonFinite(ArithmeticError):
    """A loss or a gradient was not finite."""


# Of each step, by metric: whether it was finite, a number, or a total and a count.
_SAVED = dict[str, list[bool] | list[float] | list[list[float]]]


def _checked(saved: Any) -> dict[str, list]:
    right = reading.matches(saved, _SAVED) and len({len(steps) for steps in saved.values()}) <= 1
    if right and saved:
        pairs = [step for steps in saved.values() for step in steps if isinstance(step, list)]
        right = {"finite", "loss", "gradient_norm", "update_ratio"} <= set(saved)
        right = right and all(len(pair) == 2 for pair in pairs)
    if not right:
        raise ValueError(
            "window in a checkpoint's record.json should be lists of equal length, one number, or "
            f"total and count, for each step; got {reprlib.repr(saved)}: continue from an older "
            "checkpoint"
        )
    return saved


class Window:
    """The metrics of the steps since the last line, in order.

    They stay on the devices until somebody wants them, so that the devices never wait.

    Args:
        saved: what `saved` gave to a checkpoint's record, to go on from; None: nothing.

    Raises:
        ValueError: it is not that.
    """

    def __init__(self, saved: dict[str, list] | None = None) -> None:
        self._pending: deque[tuple[int, int, Any]] = deque()
        self._steps: dict[str, list] = {} if saved is None else dict(_checked(saved))

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
            host = jax.tree.map(lambda m, count=count: m[:count], jax.device_get(metrics))
            if refuse_nonfinite and not host["finite"].all():
                bad = int(np.argmin(host["finite"]))
                loss, norm = (float(host[n][bad]) for n in ("loss", "gradient_norm"))
                raise NonFinite(
                    f"loss {loss:g}, gradient norm {norm:g} at step {first + bad + 1} "
                    f"(in the call of steps {first + 1} to {first + count})"
                )
            for name, value in host.items():
                rows = np.stack(value, axis=-1) if isinstance(value, tuple) else value
                self._steps.setdefault(name, []).extend(rows.tolist())

    def row(self) -> Row:
        """The means over all finite steps of the window, which is empty afterwards."""
        steps = {name: np.asarray(values, np.float64) for name, values in self._steps.items()}
        self._steps = {}
        good = steps.pop("finite") > 0
        row: Row = {}
        # "loss" comes first in every line, then what every run has, then the objective's own.
        first = ("loss", "gradient_norm", "update_ratio")
        for name in (*first, *sorted(set(steps) - set(first))):
            values = steps[name][good]
            if values.ndim == 2:  # totals and counts
                total, count = values.sum(0)
                if count:
                    row[name] = float(total / count)
            elif good.any():
                row[name] = float(values.mean())
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
