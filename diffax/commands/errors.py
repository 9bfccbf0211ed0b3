"""Bad input: one line on stderr and exit status 2, never a traceback."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable


class UsageError(ValueError):
    """A command line that cannot be understood."""


def raise_usage(message: str) -> None:
    """Takes the place of `ArgumentParser.error`, which prints the usage and exits."""
    raise UsageError(message)


def one_line_errors(command: Callable[[], int]) -> int:
    """Runs a command; bad input becomes one line and status 2, warnings become one line each.

    With the environment variable DIFFAX_TRACEBACK set, errors keep their traceback.
    """
    warnings.showwarning = _one_line_warning
    try:
        return command()
    except (ValueError, OSError) as error:
        if os.environ.get("DIFFAX_TRACEBACK"):
            raise
        return say_error(error, 2)


def say_error(error: Exception, status: int) -> int:
    """Prints an error as one line and gives back the exit status."""
    text = " ".join(str(error).split())
    notes = " ".join(getattr(error, "__notes__", ()))
    print(f"error: {text}{f' ({notes})' if notes else ''}", file=sys.stderr)
    return status


def _one_line_warning(message, category, filename, lineno, file=None, line=None) -> None:
    print(f"warning: {' '.join(str(message).split())}", file=sys.stderr)
