"""The talk between the runner and a worker: one word a line in, one JSON object a line out."""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

Measure = Callable[[], Any]
MARK = "answer: "  # before every answer, since libraries print, too


def serve(answers: dict[str, Measure]) -> None:
    """Answers the words on standard input until it ends.

    Args:
        answers: word -> a function that gives a JSON value.
    """
    for line in sys.stdin:
        print(MARK + json.dumps(answers[line.strip()]()), flush=True)


def timed(run: Measure, count: int = 1) -> Measure:
    """Seconds and processor seconds of a run, `count` of them in one.

    Args:
        run: returns when all is done.
        count: what the times are divided by.
    """

    def measure() -> dict[str, float]:
        wall, processor = time.perf_counter(), time.process_time()
        run()
        return {
            "seconds": (time.perf_counter() - wall) / count,
            "processor": (time.process_time() - processor) / count,
        }

    return measure


def peak_memory() -> float:
    """The most memory this process has held, GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
