"""Whether samples are copies: how far each one is from the training set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from diffax.evaluation.features import checked
from diffax.evaluation.metric import Measured, Watched
from diffax.evaluation.neighbours import nearest_neighbours
from diffax.image_range import to_float
from diffax.plotting import image_grid


@dataclass(frozen=True)
class Memorization:
    """The nearest training example of every sample.

    Attributes:
        distances: `[N]`, Euclidean.
        indices: int `[N]`, which training example it is.
        usual: `[M]`, the same distances of real examples that training has not seen; None where
            there are none to compare with.
    """

    distances: np.ndarray
    indices: np.ndarray
    usual: np.ndarray | None = None

    @property
    def figures(self) -> dict[str, float]:
        """What a report says.

        `nearest_median` and `nearest_smallest` of the distances. Against unseen examples:
        `novelty`, the median distance over theirs (1: as far as real ones; 0: copies), and
        `copied`, the share of samples nearer to the training set than 99 % of them (0.01: nothing
        is copied).
        """
        found = {
            "nearest_median": float(np.median(self.distances)),
            "nearest_smallest": float(self.distances.min()),
        }
        if self.usual is not None:
            found["novelty"] = float(np.median(self.distances) / np.median(self.usual))
            found["copied"] = float(np.mean(self.distances < np.quantile(self.usual, 0.01)))
        return found

    def closest(self, count: int) -> np.ndarray:
        """Which samples are nearest to the training set, nearest first."""
        return np.argsort(self.distances, kind="stable")[:count]


def memorization(
    generated: np.ndarray, training: np.ndarray, unseen: np.ndarray | None = None
) -> Memorization:
    """Looks for every sample's nearest training example.

    Args:
        generated: images `[N, H, W, C]`, uint8 or floating point in [-1, 1], or vectors or features
            `[N, D]`. Distances of images are over their pixels in [-1, 1].
        training: `[K, ...]`, likewise.
        unseen: `[M, ...]`, real examples that are not among those trained on.

    Raises:
        ValueError: other shapes, or numbers that are not finite.

    Example:
        >>> x = np.random.default_rng(0).normal(size=(300, 4))
        >>> memorization(x[:50], x[:200], x[200:]).figures["copied"]
        1.0
        >>> memorization(x[:50], x[50:]).closest(3).shape
        (3,)
    """
    known = _vectors(training)
    distances, indices = nearest_neighbours(_vectors(generated), known)
    usual = None if unseen is None else nearest_neighbours(_vectors(unseen), known)[0][:, 0]
    return Memorization(distances[:, 0], indices[:, 0], usual)


def nearest_pairs(
    generated: np.ndarray, training: np.ndarray, found: Memorization, count: int = 8
) -> np.ndarray:
    """Draws the samples that are nearest to the training set above what they are nearest to.

    Args:
        generated, training: images, as `memorization` was given them.
        found: what it found.
        count: how many pairs at most, nearest first.

    Returns:
        uint8 `[height, width, C]`: samples in the first row, training images in the second.
    """
    chosen = found.closest(count)
    rows = (checked(generated[chosen]), checked(training[found.indices[chosen]]))
    return image_grid(np.concatenate(rows), columns=len(chosen))


@dataclass(frozen=True)
class Copies:
    """How near samples are to training examples, as `copied` and others of `Memorization`."""

    samples: int = 1000
    """Samples."""
    split: str = "test"
    """Which split holds examples that training has not seen; unused for data without splits."""
    num: int = 10_000
    """Training examples searched, at most, from the first on."""
    pairs: int = 8
    """Nearest pairs that a report shows."""

    better: ClassVar[Mapping[str, str]] = {"copied": "lower"}

    def __call__(self, watched: Watched) -> dict[str, float]:
        """The figures."""
        return dict(self.measure(watched).figures)

    def measure(self, watched: Watched) -> Measured:
        """The figures, and the nearest pairs of images."""
        unseen = watched.reference(self.split)  # the data themselves where there are no splits
        training = _first(watched.data, self.num)
        others = None if unseen == watched.data else _first(unseen, self.samples)
        ours = np.asarray(watched.samples(self.samples).data)
        found = memorization(ours, training, others)
        images = {}
        if training.ndim == 4:
            title = "nearest pairs: samples above, training images below"
            images[title] = nearest_pairs(ours, training, found, self.pairs)
        names = {"novelty": "nearest_novelty"}  # digits are judged by another one
        figures = {names.get(name, name): value for name, value in found.figures.items()}
        note = f"copies: {len(ours):,} samples against {len(training):,} training examples"
        return Measured(figures, images=images, notes=(note,))


def _first(reference: Any, num: int) -> np.ndarray:
    dataset = reference.load()
    return dataset.examples(np.arange(min(num, dataset.spec.size)))["x"]


def _vectors(examples: np.ndarray) -> np.ndarray:
    examples = checked(examples)
    return to_float(examples) if examples.dtype == np.uint8 else examples
