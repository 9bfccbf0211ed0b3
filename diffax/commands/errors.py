"""Whatever goes wrong: one line on stderr and an exit status, never a traceback."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

from diffax.training.keeping.signals import Interrupted, StopRequest
from diffax.training.keeping.voice import one_line, unfailing

_LONGEST = 2000  # letters of a message; XLA's can be pages


class UsageError(ValueError):
    """A command line that cannot be understood."""


def raise_usage(message: str) -> NoReturn:
    """Takes the place of `ArgumentParser.error`, which prints the usage and exits."""
    raise UsageError(message)


def one_line_errors(
    command: Callable[[], int],
    failures: tuple[type[Exception], ...] = (),
    workdir: Callable[[], Path | None] = lambda: None,
) -> int:
    """Runs a command; what goes wrong becomes one line, and warnings become one line each.

    From the first moment on, Ctrl-C, SIGTERM and SIGUSR1 end the command in good order. Nothing
    that is only printed can fail. With the environment variable DIFFAX_TRACEBACK set, errors keep
    their traceback.

    Args:
        command: gives its exit status.
        failures: errors that are nobody's bad input.
        workdir: the run's folder, if it is known when something goes wrong: the traceback of an
            error that nobody expected is added to its error.log, else to a temporary file.

    Returns:
        The command's own status; 1 for a failure and for an error that nobody expected; 2 for bad
        input or a place that cannot be written; 130 or 143 when a signal ended it.
    """
    with StopRequest(immediate=True) as stop, unfailing(), _one_line_warnings():
        try:
            return command()
        except (Interrupted, KeyboardInterrupt):
            return stop.status or 130
        except Exception as error:
            if os.environ.get("DIFFAX_TRACEBACK"):
                raise
            if stop.status is not None and _INTERRUPTED in str(error):
                return stop.status  # raised in a callback of XLA, which makes its own error of it
            if isinstance(error, (*failures, ValueError, OSError)):
                _print_error(_text(error))
                return 1 if isinstance(error, failures) else 2
            name = type(error).__name__
            _print_error(f"{name}: {_text(error)} (unexpected; {_kept(error, workdir())})")
            return 1
        finally:
            stop.immediate = False


_INTERRUPTED = f"{Interrupted.__module__}.{Interrupted.__name__}"


def _text(error: Exception) -> str:
    notes = [note for note in getattr(error, "__notes__", ()) if "JAX has removed" not in note]
    text = one_line(" ".join([str(error), *notes]))
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _print_error(text: str) -> None:
    print(f"error: {text}", file=sys.stderr)


def _kept(error: Exception, workdir: Path | None) -> str:
    """Where the traceback was written to, in words."""
    text = "".join(traceback.format_exception(error)).encode(errors="backslashreplace")
    for place in (workdir, None):
        try:
            if place is None:
                number, path = tempfile.mkstemp(prefix="diffax-error-", suffix=".log")
            elif place.is_dir():
                path = place / "error.log"
                number = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
            else:
                continue
            with open(number, "wb") as file:
                file.write(text)
            return f"the traceback is in {path}"
        except OSError:
            continue
    return "DIFFAX_TRACEBACK=1 shows the traceback"


@contextlib.contextmanager
def _one_line_warnings() -> Iterator[None]:
    before, warnings.showwarning = warnings.showwarning, _one_line_warning
    try:
        yield
    finally:
        warnings.showwarning = before


def _one_line_warning(message: Warning | str, *where: object, **line: object) -> None:
    print(f"warning: {one_line(message)}", file=sys.stderr)
