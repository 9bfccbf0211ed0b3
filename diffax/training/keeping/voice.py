"""What is only printed: it may be lost, it never stops a run."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any, TextIO

from tqdm import tqdm

from diffax.printable import printable
from diffax.training.distributed import is_first


def say(line: str) -> None:
    """Prints a line on stdout, past any progress bar; process 0 only."""
    if is_first():
        _print(one_line(line), _unfailing(sys.stdout))


def warn(line: str) -> None:
    """Prints "warning: ..." on stderr, past any progress bar; process 0 only."""
    if is_first():
        _print(f"warning: {one_line(line)}", _unfailing(sys.stderr))


def progress_bar(**options: Any) -> tqdm:
    """A `tqdm` bar on stderr, of process 0 only, that a full disk does not stop.

    Args:
        options: of `tqdm.tqdm`.
    """
    with unfailing():  # tqdm flushes the process's own streams as it begins
        usual: dict[str, Any] = {"file": sys.stderr, "dynamic_ncols": True, "mininterval": 0.5}
        off = options.get("disable", False) or not is_first()
        return tqdm(**usual | options | {"disable": off})


def one_line(text: object) -> str:
    """A text on one line, its control characters escaped: files shall not steer a terminal.

    Example:
        >>> one_line("a\\n b\\x1b[31m")
        'a b\\\\x1b[31m'
    """
    return printable(" ".join(str(text).split()))


def _print(line: str, stream: Unfailing) -> None:
    tqdm.write(line, file=stream)
    stream.flush()


@contextlib.contextmanager
def unfailing() -> Iterator[None]:
    """In this context nothing that is printed can fail: full disk, closed pipe, foreign letters."""
    before = sys.stdout, sys.stderr
    within = sys.stdout, sys.stderr = tuple(map(_unfailing, before))
    try:
        yield
    finally:
        for stream in within:
            stream.flush()
        sys.stdout, sys.stderr = before


class Unfailing:
    """A text stream whose `write` and `flush` lose what cannot be written.

    It equals the stream it stands for, by which `tqdm.write` finds the bars to be moved.

    Args:
        stream: the real one.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        """Writes the text, or not; its length."""
        try:
            self.stream.write(text)
        except UnicodeEncodeError:
            encoding = self.stream.encoding or "ascii"
            return self.write(text.encode(encoding, "backslashreplace").decode(encoding))
        except (OSError, ValueError):
            self._discard()
        return len(text)

    def flush(self) -> None:
        """Writes what is still in memory, or loses it."""
        try:
            self.stream.flush()
        except (OSError, ValueError):
            self._discard()

    def _discard(self) -> None:
        """Empties the stream's memory into the null device.

        The stream would else try the same bytes again, and Python ends with status 120 over them.
        """
        with contextlib.suppress(OSError, ValueError), open(os.devnull, "wb") as null:
            number = self.stream.fileno()
            kept = os.dup(number)
            try:
                os.dup2(null.fileno(), number)
                self.stream.flush()
            finally:
                os.dup2(kept, number)
                os.close(kept)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def __eq__(self, other: object) -> bool:
        return self.stream is getattr(other, "stream", other)

    def __hash__(self) -> int:
        return hash(self.stream)


def _unfailing(stream: TextIO | None) -> Unfailing:
    if isinstance(stream, Unfailing):
        return stream
    # Python has no stream where a shell closed it: `>&-`.
    return Unfailing(open(os.devnull, "w") if stream is None else stream)
