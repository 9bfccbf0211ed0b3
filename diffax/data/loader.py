"""Batches prepared ahead of the step that wants them, by threads."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from diffax.data.dataset import Dataset


class Loader(Iterator[Any]):
    """An iterator over the batches of consecutive steps, always a few ahead.

    The order and the contents do not depend on the number of workers. Threads are enough: decoding
    and resizing release Python's lock. What a worker raises is raised by `next`, which then ends
    the loader.

    Args:
        dataset: what to read.
        seed: of the data order and the augmentations.
        batch_size: of the whole batch, over all processes.
        start: the first step.
        stop: the step after the last; None: without end.
        stack: None: one batch [B, ...] at a time. k: stacks [k, B, ...] for k training steps in one
            compiled call; the last may be shorter. A function: first step -> k, for loops that
            cut their calls at logging or saving steps.
        workers: threads; None: one a CPU core, at most 8.
        ahead: batches, or stacks, that are ready or being prepared; None: workers + 1.
        place: called on every batch in a worker's thread, for instance to put it on the devices.
            It must not wait for other processes: threads of two processes keep no common order.
        process_index, process_count: as for `Dataset.batch`.

    Attributes:
        step: first step of what `next` gives next.
        waited: seconds that `next` has kept its caller waiting; may be set to 0 at any time.

    Example:
        >>> from diffax.data import Loader, Toy
        >>> with Loader(Toy().load(), seed=0, batch_size=32, start=5, stop=7) as loader:
        ...     [batch["x"].shape for batch in loader]
        [(32, 2), (32, 2)]
    """

    def __init__(
        self,
        dataset: Dataset,
        *,
        seed: int,
        batch_size: int,
        start: int = 0,
        stop: int | None = None,
        stack: int | Callable[[int], int] | None = None,
        workers: int | None = None,
        ahead: int | None = None,
        place: Callable[[Any], Any] | None = None,
        process_index: int = 0,
        process_count: int = 1,
    ) -> None:
        workers = min(8, os.cpu_count() or 1) if workers is None else workers
        ahead = workers + 1 if ahead is None else ahead
        if workers < 1 or ahead < 1:
            raise ValueError(f"expected workers and ahead >= 1, got {workers} and {ahead}")
        if isinstance(stack, int) and stack < 1:
            raise ValueError(f"expected stack >= 1, got {stack}")
        self.step = start
        self.waited = 0.0
        self._dataset = dataset
        self._share = dict(
            seed=seed,
            batch_size=batch_size,
            process_index=process_index,
            process_count=process_count,
        )
        self._stop, self._stack, self._place = stop, stack, place
        self._next = start  # first step that no worker has been asked for
        self._ahead = ahead
        self._queue: deque[tuple[int, int, Future]] = deque()
        self._pool = ThreadPoolExecutor(max_workers=workers, thread_name_prefix="diffax-data")
        self._closed = False
        self._fill()

    def __next__(self) -> Any:
        """The next batch, or stack of batches."""
        if self._closed:
            raise RuntimeError("this loader is closed; make a new one with start=step")
        if not self._queue:
            self.close()
            raise StopIteration
        began = time.perf_counter()
        step, count, future = self._queue[0]
        try:
            batch = future.result()
        except Exception as error:
            self.close()
            error.add_note(f"while preparing the batch of step {step}")
            raise
        finally:
            self.waited += time.perf_counter() - began
        self._queue.popleft()  # only now: an interrupt while waiting must not lose the batch
        self.step = step + count
        self._fill()
        return batch

    def close(self) -> None:
        """Stops the workers: what is under way is finished and thrown away."""
        self._closed = True
        self._queue.clear()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def __enter__(self) -> Loader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _fill(self) -> None:
        while len(self._queue) < self._ahead and (self._stop is None or self._next < self._stop):
            count = self._stack(self._next) if callable(self._stack) else (self._stack or 1)
            if self._stop is not None:
                count = min(count, self._stop - self._next)
            future = self._pool.submit(self._prepare, self._next, count)
            self._queue.append((self._next, count, future))
            self._next += count

    def _prepare(self, step: int, count: int) -> Any:
        if self._stack is None:
            batch = self._dataset.batch(step, **self._share)
        else:
            batch = self._dataset.batches(step, count, **self._share)
        return batch if self._place is None else self._place(batch)
