"""Clouds of vectors, drawn as dots: one, many side by side, or moving."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, cast

import numpy as np

from diffax.plotting import canvas
from diffax.plotting.files import save_gif

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from mpl_toolkits.mplot3d import Axes3D

Limits = tuple[tuple[float, float], ...]  # (low, high) of each coordinate that is drawn

_TITLE, _GAP = 24, 4  # pixels of a strip: above each cloud, around it
_MOST_DOTS = 10_000  # drawn of one cloud: more only blacken the image


def limits(vectors: np.ndarray, margin: float = 0.1) -> Limits:
    """Square axes that hold nearly all vectors (from the 0.1 % to the 99.9 % quantile).

    Args:
        vectors: [..., D]; all coordinates count where D = 3, else the first two.
        margin: added on every side, as a share of the longer side.

    Returns:
        ((left, right), (bottom, top)), or three such pairs.
    """
    drawn = _drawn(vectors)
    flat = drawn.reshape(-1, drawn.shape[-1])
    flat = flat[np.isfinite(flat).all(axis=1)]
    if not len(flat):
        return ((-1.0, 1.0),) * flat.shape[-1]
    low, high = np.quantile(flat, [0.001, 0.999], axis=0)
    half = max(float((high - low).max()) * (0.5 + margin), 1e-6)
    return tuple((middle - half, middle + half) for middle in ((low + high) / 2).tolist())


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
        vectors: [N, D]; in space where D = 3, else the first two coordinates; at most 10,000.
        labels: int [N], one colour each; without them, dots in space are coloured by height.
        axes: as `limits` gives them; None: from the vectors.
        title: above the image.
        size: side in pixels.

    Returns:
        uint8 [size, size, 3].
    """
    page = canvas.figure(size, size)
    cloud = _Cloud(_panel(page, vectors), axes or limits(vectors), labels)
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
        panel = page.add_axes(place, projection=_projection(vectors))
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
        cloud = _Cloud(_panel(page, clouds[0]), axes, labels)
        cloud.show(clouds[0], titles[0])
        page.tight_layout()  # once: the frame must not move
        for vectors, title in zip(clouds, titles, strict=True):
            cloud.show(vectors, title)
            yield canvas.pixels(page)

    save_gif(path, frames(), fps=fps, hold=hold)


class _Cloud:
    """Vectors on fixed axes, two or three; `show` replaces them."""

    def __init__(
        self, panel: Axes, axes: Limits, labels: np.ndarray | None, *, ticks: bool = True
    ) -> None:
        self._panel = panel
        names = ("x", "y", "z")[: len(axes)]
        panel.set(**{f"{name}lim": pair for name, pair in zip(names, axes, strict=True)})
        panel.set_aspect("equal")
        panel.tick_params(labelsize=8)
        if not ticks:
            panel.set(**{f"{name}ticks": [] for name in names})
        for side in panel.spines.values():
            side.set_color("#bbbbbb")
        # Panels of a strip are small: thinner dots.
        self._style = dict(linestyle="", marker=".", alpha=0.5, markeredgewidth=0)
        self._style["markersize"] = 3.5 if ticks else 2.0
        if len(axes) == 3:  # seen through one another, nearly from the front
            cast("Axes3D", panel).view_init(elev=15, azim=-75)
            self._style |= {"alpha": 0.8, "markersize": 5.0 if ticks else 2.0}
        self._labels = None if labels is None else np.asarray(labels)
        self._heights = axes[-1]
        self._lines: list = []

    def show(self, vectors: np.ndarray, title: str) -> None:
        drawn = _drawn(vectors)
        if self._labels is not None and len(self._labels) != len(drawn):
            raise ValueError(f"expected {len(drawn)} labels, one a vector, got {len(self._labels)}")
        every = math.ceil(len(drawn) / _MOST_DOTS)
        groups, colours = self._groups(drawn)
        drawn, groups = drawn[::every], groups[::every]
        for line in self._lines:
            line.remove()
        self._lines = []
        for group in np.unique(groups):
            colour = colours[int(group) % len(colours)]
            (line,) = self._panel.plot(*drawn[groups == group].T, color=colour, **self._style)
            self._lines.append(line)
        self._panel.set_title(title, fontsize=10)

    def _groups(self, drawn: np.ndarray) -> tuple[np.ndarray, Sequence[str]]:
        """Of the dots, one colour each: labels, or heights in space."""
        if self._labels is not None:
            return self._labels, canvas.COLOURS
        if drawn.shape[-1] < 3:
            return np.zeros(len(drawn), int), (canvas.INK,)
        low, high = self._heights
        share = np.nan_to_num((drawn[:, 2] - low) / (high - low))
        count = len(canvas.HEIGHTS)
        return np.clip((share * count).astype(int), 0, count - 1), canvas.HEIGHTS


def _panel(page: Figure, vectors: np.ndarray) -> Axes:
    return page.add_subplot(projection=_projection(vectors))


def _projection(vectors: np.ndarray) -> str | None:
    return "3d" if np.shape(vectors)[-1] == 3 else None


def _check_clouds(clouds: Sequence[np.ndarray] | np.ndarray, titles: Sequence[str]) -> None:
    if not len(clouds) or len(clouds) != len(titles):
        raise ValueError(
            f"expected at least one cloud and a title for each, "
            f"got {len(clouds)} clouds and {len(titles)} titles"
        )


def _drawn(vectors: np.ndarray) -> np.ndarray:
    """The coordinates that are drawn, [..., 2 or 3]."""
    vectors = np.asarray(vectors, np.float64)
    if vectors.ndim < 2 or vectors.shape[-1] == 0:
        raise ValueError(f"expected vectors [N, D], got shape {list(vectors.shape)}")
    if vectors.shape[-1] == 1:  # one coordinate: along the middle of the image
        vectors = np.concatenate([vectors, np.zeros_like(vectors)], axis=-1)
    return vectors if vectors.shape[-1] == 3 else vectors[..., :2]
