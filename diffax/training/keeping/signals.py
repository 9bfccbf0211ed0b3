"""Being asked to stop: finish the step, save, leave."""

from __future__ import annotations

import signal
from types import FrameType

# 128 + the signal's number, as shells say it. SLURM's SIGUSR1 announces the same as SIGTERM.
_STATUS = {signal.SIGTERM: 143, signal.SIGUSR1: 143, signal.SIGINT: 130}


class Interrupted(BaseException):
    """Raised where a request to stop need not wait for the end of a step."""


class StopRequest:
    """Notices SIGTERM, SIGUSR1 and Ctrl-C; a second Ctrl-C ends the process at once.

    Use it as a context; afterwards the signals mean what they meant before.

    Attributes:
        status: what the process shall return: 143 or 130; None while nobody asked.
        immediate: raise `Interrupted` right away instead of waiting to be asked.
    """

    def __init__(self) -> None:
        self.status: int | None = None
        self.immediate = False
        self._before: dict[int, object] = {}

    def __enter__(self) -> StopRequest:
        for number in _STATUS:
            self._before[number] = signal.signal(number, self._notice)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _notice(self, number: int, frame: FrameType | None) -> None:
        self.status = self.status or _STATUS[number]
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
        if self.immediate:
            raise Interrupted
