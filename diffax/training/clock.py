"""How fast a run is, what it waits for, what it takes, and where its time goes."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

import jax

from diffax.data import Loader


class Clock:
    """Speed, and the share of time in which the loop waited for data; without compilation."""

    def __init__(self, batch_size: int, step: int) -> None:
        self._batch_size = batch_size
        self._began = self._logged_at = time.perf_counter()
        self._first = self._logged_step = self._step = step
        self._started = False
        self._waited = 0.0
        self.images_per_second = 0.0

    def called(self, step: int, loader: Loader) -> None:
        """A call was made; the first one, which waits for everything to start, does not count."""
        if not self._started:
            self._started = True
            self._began = self._logged_at = time.perf_counter()
            self._first = self._logged_step = step
            loader.waited = 0.0
        self._step, self._waited = step, loader.waited

    def leave_out(self, seconds: float) -> None:
        """Time that is not training."""
        self._began += seconds
        self._logged_at += seconds

    def logged(self, step: int) -> None:
        """A line of metrics ends here."""
        now = time.perf_counter()
        if step > self._logged_step:
            self.images_per_second = (
                (step - self._logged_step) * self._batch_size / (now - self._logged_at)
            )
        self._logged_at, self._logged_step = now, step

    @property
    def share_waiting(self) -> float:
        """Of the time so far, in 0 to 1."""
        return self._waited / max(time.perf_counter() - self._began, 1e-9)

    def speed(self) -> dict[str, float]:
        """Since the line before, and of the time so far."""
        return {
            "images_per_second": self.images_per_second,
            "waiting_for_data": self.share_waiting,
        }

    def figures(self) -> dict[str, float]:
        """Over the whole session."""
        seconds = max(time.perf_counter() - self._began, 1e-9)
        return {
            "images_per_second": (self._step - self._first) * self._batch_size / seconds,
            "share_waiting_for_data": self.share_waiting,
        }


class Tracer:
    """A profiler trace of the third to the seventh call."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._calls, self._on = folder, 0, False

    def called(self, metrics: dict[str, jax.Array]) -> None:
        """A call was made, and this is what it will give."""
        self._calls += 1
        if self._calls == 2:
            jax.block_until_ready(metrics)
            jax.profiler.start_trace(str(self._folder))
            self._on = True
        elif self._calls == 7 and self._on:
            jax.block_until_ready(metrics)
            jax.profiler.stop_trace()
            self._on = False

    def close(self, say: Callable[[str], None]) -> None:
        """Ends the trace, and says where it is."""
        if self._on:
            jax.profiler.stop_trace()
            self._on = False
        if self._calls >= 2:
            say(f"profile left in {self._folder}")
        else:
            say("too few calls for a profile: at least 3 are needed")


def memory_mb() -> float:
    """Peak memory of the first device, or of the process where the device does not say."""
    stats = jax.local_devices()[0].memory_stats()
    if stats and "peak_bytes_in_use" in stats:
        return stats["peak_bytes_in_use"] / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)
