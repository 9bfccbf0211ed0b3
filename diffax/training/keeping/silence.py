"""What Orbax and TensorStore say of a failed write stays away from the one line that we report."""

from __future__ import annotations

import logging
import sys
import traceback
from typing import Any


def of_storage() -> None:
    """From now on their hundred lines about one failed write are not shown; all others are."""
    for name in ("absl", "asyncio"):
        logging.getLogger(name).addFilter(lambda record: not _is_storage(record))
    before = sys.unraisablehook

    def hook(unraisable: Any) -> None:
        # TensorStore's threads report to an event loop that the first failure has ended.
        if str(unraisable.exc_value) != "Event loop is closed":
            before(unraisable)

    sys.unraisablehook = hook


def _is_storage(record: logging.LogRecord) -> bool:
    """Whether one of the two wrote it, is named in it, or raised what it tells of."""
    trace = record.exc_info[2] if record.exc_info else None
    files = [record.pathname, record.getMessage()]
    files += [frame.filename for frame in traceback.extract_tb(trace)]
    return any("orbax" in file or "tensorstore" in file for file in files)
