"""A progress bar over samples."""

from __future__ import annotations

from tqdm import tqdm

_FORMAT = "{l_bar}{bar}| {n:.0f}/{total} [{elapsed}<{remaining}, {rate_fmt}]"


class Progress:
    """A bar over samples, moved by every step of every batch.

    Args:
        num: samples in all.
        batch: samples drawn at once.
        steps: of the solver.
        quiet: show nothing.
    """

    def __init__(self, num: int, batch: int, steps: int, quiet: bool) -> None:
        self._share = batch / steps
        self._bar = tqdm(total=num, unit="sample", disable=quiet, bar_format=_FORMAT)

    def step(self, index: object, x: object, point: object) -> None:
        """One step of a batch is done: for `on_step` of `diffax.sample`."""
        self._bar.update(min(self._share, self._bar.total - self._bar.n))

    def __enter__(self) -> Progress:
        """The bar is shown already."""
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        """A finished bar is full."""
        if kind is None:
            self._bar.update(self._bar.total - self._bar.n)
        self._bar.close()
