"""Being asked to stop: finish the step, save, leave."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

# 128 + the signal's number, as shells say it. SLURM's SIGUSR1 announces the same as SIGTERM.
_STATUS: dict[int, int] = {signal.SIGTERM: 143, signal.SIGUSR1: 143, signal.SIGINT: 130}


class Interrupted(BaseException):
    """Raised where a request to stop need not wait for the end of a step."""


class StopRequest:
    """Notices SIGTERM, SIGUSR1 and Ctrl-C; a second Ctrl-C ends the process at once.

    Use it as a context, in the main thread (elsewhere it notices nothing); afterwards the signals
    mean what they meant before. One within another knows what the outer one was asked already.

    A request is never lost. It is kept as `status`, whatever becomes of an exception. And where
    an exception is raised it may land where Python can only ignore it, in a callback of the garbage
    collector or in a `__del__`: it is then raised again a moment later.

    Attributes:
        status: what the process shall return: 143 or 130; None while nobody asked.
        immediate: raise `Interrupted` right away instead of waiting to be asked; see `at_once`.

    Example:
        >>> with StopRequest() as stop:
        ...     for _ in range(3):
        ...         if stop.status is not None:
        ...             break
    """

    def __init__(self, *, immediate: bool = False) -> None:
        self.status: int | None = None
        self.immediate = immediate
        self._before: dict[int, Any] = {}
        self._hook_before: Any = None
        self._again: threading.Timer | None = None

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is not threading.main_thread():
            return self
        self._hook_before, sys.unraisablehook = sys.unraisablehook, self._not_lost
        for number in _STATUS:
            self._before[number] = signal.signal(number, self._notice)
        outer = getattr(self._before[signal.SIGTERM], "__self__", None)
        if isinstance(outer, StopRequest):
            self.status = self.status or outer.status
        return self

    def __exit__(self, *_: object) -> None:
        self.immediate = False
        if self._again is not None:
            self._again.cancel()
            self._again.join()
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if self._before:
            sys.unraisablehook = self._hook_before
        self._before = {}

    @contextlib.contextmanager
    def at_once(self) -> Iterator[None]:
        """In this context a request ends what is under way, one from before it too.

        Raises:
            Interrupted: somebody asked.
        """
        before, self.immediate = self.immediate, True
        try:
            if self.status is not None:
                raise Interrupted
            yield
        finally:
            self.immediate = before

    def _notice(self, number: int, frame: FrameType | None) -> None:
        self.status = self.status or _STATUS[number]
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
        if self.immediate:
            raise Interrupted

    def _not_lost(self, unraisable: Any) -> None:
        if not issubclass(unraisable.exc_type, (Interrupted, KeyboardInterrupt)):
            self._hook_before(unraisable)
        elif self.immediate:
            # Not in here, where it would be ignored again.
            self._again = threading.Timer(0.05, self._ask_again)
            self._again.daemon = True
            self._again.start()

    def _ask_again(self) -> None:
        thread = threading.main_thread().ident
        if self.immediate and thread is not None:
            # SIGUSR1: for all means the same, and is never left to the system
            signal.pthread_kill(thread, signal.SIGUSR1)
