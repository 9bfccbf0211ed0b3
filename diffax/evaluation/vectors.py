"""Distances between sets of vectors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from diffax.evaluation.metric import Measured, Watched


def sliced_wasserstein(
    generated: np.ndarray, real: np.ndarray, *, directions: int = 256, seed: int = 0
) -> float:
    """Sliced 2-Wasserstein distance, both sets scaled by the real set's standard deviations.

    The root of the mean over random directions of the squared one-dimensional distance
    (Bonneel et al. 2015), so a distance of 1 is one standard deviation of the data. A
    coordinate that is constant in the real set is taken as it is.

    Args:
        generated: `[N, D]`.
        real: `[N, D]`, as many vectors: their sorted projections are matched one to one.
        directions: how many random directions.
        seed: of the directions.

    Returns:
        The distance, >= 0. Two real draws of 10,000 S-curve vectors are 0.018 to 0.031 apart.

    Raises:
        ValueError: the sets differ in shape, or hold a value that is not finite.

    Example:
        >>> import numpy as np
        >>> x = np.random.default_rng(0).normal(size=(100, 2))
        >>> sliced_wasserstein(x, x)
        0.0
    """
    generated, real = np.asarray(generated, np.float64), np.asarray(real, np.float64)
    if generated.shape != real.shape or real.ndim != 2:
        raise ValueError(
            f"expected two sets of equal shape [N, D], got {generated.shape} and {real.shape}"
        )
    if not (np.isfinite(generated).all() and np.isfinite(real).all()):
        raise ValueError("expected finite vectors, got NaN or infinity among them")
    scale = np.where(np.ptp(real, axis=0) > 0, real.std(axis=0), 1.0)
    angles = np.random.default_rng(seed).normal(size=(directions, real.shape[1]))
    angles /= np.linalg.norm(angles, axis=1, keepdims=True)
    ours, theirs = (np.sort(x / scale @ angles.T, axis=0) for x in (generated, real))
    return float(np.sqrt(np.mean((ours - theirs) ** 2)))


@dataclass(frozen=True)
class SlicedWasserstein:
    """Distance of samples to another split, as `sliced_wasserstein`, for data that are vectors.

    Beside it stands what another draw of the data themselves gets,
    `sliced_wasserstein_of_real_data`: samples that come as near cannot be told from data by it.
    """

    split: str = "test"
    """Which split of the data."""
    samples: int = 10_000
    """Samples, and vectors of the split; fewer where there are fewer."""
    directions: int = 256
    """Random directions."""
    seed: int = 0
    """Of the directions."""

    better: ClassVar[Mapping[str, str]] = {"sliced_wasserstein": "lower"}

    def __call__(self, watched: Watched) -> dict[str, float]:
        """The figure."""
        return self._figures(watched, self._vectors(watched, self.split))

    def measure(self, watched: Watched) -> Measured:
        """The figure, and that of real data where there are splits."""
        real = self._vectors(watched, self.split)
        figures = self._figures(watched, real)
        if hasattr(watched.data, "split"):
            other = self._vectors(watched, "test" if self.split == "train" else "train")
            figures["sliced_wasserstein_of_real_data"] = self._distance(other, real)
        return Measured(figures)

    def _figures(self, watched: Watched, real: np.ndarray) -> dict[str, float]:
        ours = np.asarray(watched.samples(len(real)).data)
        return {"sliced_wasserstein": self._distance(ours, real)}

    def _vectors(self, watched: Watched, split: str) -> np.ndarray:
        dataset = watched.reference(split).load()
        return dataset.examples(np.arange(min(self.samples, dataset.spec.size)))["x"]

    def _distance(self, ours: np.ndarray, real: np.ndarray) -> float:
        both = min(len(ours), len(real))
        settings = {"directions": self.directions, "seed": self.seed}
        return sliced_wasserstein(ours[:both], real[:both], **settings)
