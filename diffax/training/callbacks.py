"""What a script is told while a run goes on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffax.training.keeping.checkpoint import Checkpoints
from diffax.training.state import TrainState

EVENTS = ("on_step", "on_log", "on_save")


@dataclass(frozen=True)
class Callback:
    """Functions that a run calls; any object with methods of these names will do as well.

    They are called in every process, between two compiled calls, and can change nothing of the run:
    with and without them it ends in the same bits. Where one raises an exception, what was learned
    so far is saved first, then `train` raises it; the same call of `train` continues.

    Attributes:
        on_step: `(step, state)` after every compiled call, which makes `train.steps_per_call` steps
            at most. The state's arrays are still being computed, and are given away at the next
            call: copy what you keep.
        on_log: `(step, values)` with every line of metrics.jsonl.
        on_save: `(step, folder)` when a checkpoint is whole on the disk, soon after its step; in
            the processes that see the folder.

    Example:
        >>> shown = Callback(on_log=lambda step, values: print(step, values["loss"]))
    """

    on_step: Callable[[int, TrainState], None] | None = None
    on_log: Callable[[int, dict[str, float]], None] | None = None
    on_save: Callable[[int, Path], None] | None = None


def check_callbacks(callbacks: Sequence[Any]) -> tuple[Any, ...]:
    """The callbacks, each of which listens to something.

    Raises:
        ValueError: one does not.
    """
    for callback in callbacks:
        if not any(callable(getattr(callback, event, None)) for event in EVENTS):
            raise ValueError(
                f"expected callbacks with one of {', '.join(EVENTS)}, got "
                f"{type(callback).__name__}; for a function: Callback(on_log=function)"
            )
    return tuple(callbacks)


class Listeners:
    """The callbacks of a run.

    Args:
        callbacks: see `Callback`.
        checkpoints: whose saves they are told of.
    """

    def __init__(self, callbacks: Sequence[Any], checkpoints: Checkpoints) -> None:
        self._callbacks = callbacks
        self._checkpoints = checkpoints
        self._saving: list[int] = []

    def saving(self, step: int) -> None:
        """A checkpoint is being written."""
        self._saving += [step] if self._callbacks else []

    def tell(self, step: int, state: TrainState, row: dict[str, float] | None) -> None:
        """A call is over; `row` is the line that was logged then, if any."""
        self._each("on_step", step, state)
        if row is not None:
            self._each("on_log", step, dict(row))
        self.tell_saved()

    def tell_saved(self) -> None:
        """Of every checkpoint that has become whole."""
        if not self._saving or self._checkpoints.busy:
            return
        steps, self._saving = self._saving, []
        for step in sorted(set(steps) & set(self._checkpoints.finished())):
            self._each("on_save", step, self._checkpoints.path(step))

    def _each(self, event: str, *what: Any) -> None:
        for callback in self._callbacks:
            listen = getattr(callback, event, None)
            if listen is not None:
                listen(*what)
