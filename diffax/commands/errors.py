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


def one_line_errors(command: Callable[[], int], failures: tuple[type[Exception], ...] = ()) -> int:
    """Runs a command; what goes wrong becomes one line, and warnings become one line each.

    With the environment variable DIFFAX_TRACEBACK set, errors keep their traceback.

    Args:
        command: gives its exit status.
        failures: errors that are nobody's bad input.

    Returns:
        The command's own status; 1 for a failure; 2 for bad input or a place that cannot be
        written.
    """
    warnings.showwarning = _one_line_warning
    try:
        return command()
    except (*failures, ValueError, OSError) as error:
        if os.environ.get("DIFFAX_TRACEBACK"):
            raise
        notes = [note for note in getattr(error, "__notes__", ()) if "JAX has removed" not in note]
        print(f"error: {' '.join(' '.join([str(error), *notes]).split())}", file=sys.stderr)
        return 1 if isinstance(error, failures) else 2


def _one_line_warning(message, category, filename, lineno, file=None, line=None) -> None:
    print(f"warning: {' '.join(str(message).split())}", file=sys.stderr)
