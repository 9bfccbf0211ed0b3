"""Clouds of vectors, drawn as dots: one, many side by side, or moving."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from diffax.plotting import canvas
from diffax.plotting.files import save_gif

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Limits = tuple[tuple[float, float], tuple[float, float]]

_TITLE, _GAP = 24, 4  # pixels of a strip: above each cloud, around it
_MOST_DOTS = 10_000  # drawn of one cloud: more only blacken the image


def limits(vectors: np.ndarray, margin: float = 0.1) -> Limits:
    """Square axes that hold nearly all vectors (from the 0.1 % to the 99.9 % quantile).

    Args:
        vectors: [..., D]; the first two coordinates count.
        margin: added on every side, as a share of the longer side.

    Returns:
        ((left, right), (bottom, top)).
    """
    flat = _plane(vectors).reshape(-1, 2)
    flat = flat[np.isfinite(flat).all(axis=1)]
    if not len(flat):
        return ((-1.0, 1.0), (-1.0, 1.0))
    low, high = np.quantile(flat, [0.001, 0.999], axis=0)
    half = max(float((high - low).max()) * (0.5 + margin), 1e-6)
    x, y = ((low + high) / 2).tolist()
    return ((x - half, x + half), (y - half, y + half))


def scatter(
    vectors: np.ndarray,
    *,
    labels: np.ndarray | None = None,
    axes: Limits | None = None,
    title: str = "",
    size: int = 512,
) -> np.ndarray:
    """Draws one cloud of vectors.

    Args:
        vectors: [N, D]; the first two coordinates are drawn, and at most 10,000 vectors.
        labels: int [N], one colour each.
        axes: as `limits` gives them; None: from the vectors.
        title: above the image.
        size: side in pixels.

    Returns:
        uint8 [size, size, 3].
    """
    page = canvas.figure(size, size)
    cloud = _Cloud(page.add_subplot(), axes or limits(vectors), labels)
    cloud.show(vectors, title)
    page.tight_layout()
    return canvas.pixels(page)


def scatter_strip(
    clouds: Sequence[np.ndarray] | np.ndarray,
    titles: Sequence[str],
    *,
    columns: int = 10,
    labels: np.ndarray | None = None,
    axes: Limits | None = None,
    size: int = 160,
) -> np.ndarray:
    """Draws clouds of vectors side by side on the same axes, for instance q(x_t) at 20 times.

    Args:
        clouds: K clouds [N, D].
        titles: K texts, for instance "t = 40".
        columns: clouds in a row.
        labels: int [N], one colour each.
        axes: of all clouds; None: those that hold all of them.
        size: side of one cloud in pixels.

    Returns:
        uint8 [height, width, 3].
    """
    _check_clouds(clouds, titles)
    axes = axes or limits(np.concatenate(list(clouds)))
    columns = min(columns, len(clouds))
    rows = math.ceil(len(clouds) / columns)
    width, height = columns * size, rows * (size + _TITLE)
    page = canvas.figure(width, height)
    for i, (vectors, title) in enumerate(zip(clouds, titles, strict=True)):
        left, bottom = i % columns * size, height - (i // columns + 1) * (size + _TITLE)
        side = size - 2 * _GAP
        place = (left + _GAP) / width, (bottom + _GAP) / height, side / width, side / height
        panel = page.add_axes(place)
        _Cloud(panel, axes, labels, ticks=False).show(vectors, title)
    return canvas.pixels(page)


def scatter_gif(
    path: str | os.PathLike,
    clouds: Sequence[np.ndarray] | np.ndarray,
    titles: Sequence[str],
    *,
    labels: np.ndarray | None = None,
    axes: Limits | None = None,
    size: int = 400,
    fps: float = 20.0,
    hold: float = 2.0,
) -> None:
    """Writes the animation of a moving cloud, for instance the forward or the reverse process.

    Args:
        path: of the GIF.
        clouds: K clouds [N, D], in the order in which they are shown: of a denoising with S steps
            K = S + 1, pure noise first.
        titles: K texts, shown above, for instance "t = 40".
        labels: int [N], one colour each.
        axes: of all frames; None: those that hold all clouds.
        size: side in pixels.
        fps, hold: as for `save_gif`.

    Raises:
        OSError: the path cannot be written; an older file is then still there.
    """
    _check_clouds(clouds, titles)
    axes = axes or limits(np.concatenate(list(clouds)))

    def frames() -> Iterator[np.ndarray]:
        page = canvas.figure(size, size)
        cloud = _Cloud(page.add_subplot(), axes, labels)
        cloud.show(clouds[0], titles[0])
        page.tight_layout()  # once: the frame must not move
        for vectors, title in zip(clouds, titles, strict=True):
            cloud.show(vectors, title)
            yield canvas.pixels(page)

    save_gif(path, frames(), fps=fps, hold=hold)


class _Cloud:
    """Vectors on fixed axes; `show` replaces them."""

    def __init__(
        self, panel: Axes, axes: Limits, labels: np.ndarray | None, *, ticks: bool = True
    ) -> None:
        self._panel = panel
        panel.set(xlim=axes[0], ylim=axes[1], aspect="equal")
        panel.tick_params(labelsize=8)
        if not ticks:
            panel.set(xticks=[], yticks=[])
        for side in panel.spines.values():
            side.set_color("#bbbbbb")
        # Panels of a strip are small: thinner dots.
        self._style = dict(linestyle="", marker=".", alpha=0.5, markeredgewidth=0)
        self._style["markersize"] = 3.5 if ticks else 2.0
        self._labels = None if labels is None else np.asarray(labels)
        self._lines: list = []

    def show(self, vectors: np.ndarray, title: str) -> None:
        plane = _plane(vectors)
        labels = np.zeros(len(plane), int) if self._labels is None else self._labels
        if len(labels) != len(plane):
            raise ValueError(f"expected {len(plane)} labels, one a vector, got {len(labels)}")
        every = math.ceil(len(plane) / _MOST_DOTS)
        plane, labels = plane[::every], labels[::every]
        for line in self._lines:
            line.remove()
        self._lines = []
        colours = (canvas.INK,) if self._labels is None else canvas.COLOURS
        for label in np.unique(labels):
            colour = colours[int(label) % len(colours)]
            (line,) = self._panel.plot(*plane[labels == label].T, color=colour, **self._style)
            self._lines.append(line)
        self._panel.set_title(title, fontsize=10)


def _check_clouds(clouds: Sequence[np.ndarray] | np.ndarray, titles: Sequence[str]) -> None:
    if not len(clouds) or len(clouds) != len(titles):
        raise ValueError(
            f"expected at least one cloud and a title for each, "
            f"got {len(clouds)} clouds and {len(titles)} titles"
        )


def _plane(vectors: np.ndarray) -> np.ndarray:
    vectors = np.asarray(vectors, np.float64)
    if vectors.ndim < 2 or vectors.shape[-1] == 0:
        raise ValueError(f"expected vectors [N, D], got shape {list(vectors.shape)}")
    if vectors.shape[-1] == 1:  # one coordinate: along the middle of the image
        vectors = np.concatenate([vectors, np.zeros_like(vectors)], axis=-1)
    return vectors[..., :2]
