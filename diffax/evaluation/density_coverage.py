"""Density and coverage (Naeem et al. 2020)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from diffax.evaluation.metric import Watched
from diffax.evaluation.neighbours import check_features, distance_blocks, radii
from diffax.evaluation.seen import reference_features, sample_features


class DensityCoverage(NamedTuple):
    """Precision and recall that a few outliers do not spoil.

    Attributes:
        density: how many real examples' balls hold a generated one, over k; 1 on average for equal
            distributions, may be larger.
        coverage: share of real examples whose ball holds a generated one; in [0, 1].
    """

    density: float
    coverage: float


def density_coverage(
    generated: np.ndarray, real: np.ndarray, *, neighbours: int = 5
) -> DensityCoverage:
    """Density and coverage, with balls about the real examples only.

    A ball reaches to its centre's k-th nearest real neighbour. Coverage for equal distributions and
    numbers is about 1 - 2^-k.

    Args:
        generated, real: features `[N, D]` and `[M, D]`.
        neighbours: k.

    Raises:
        ValueError: not more than k real examples, features of two sizes, or not finite.

    Example:
        >>> x = np.random.default_rng(0).normal(size=(200, 2))
        >>> density_coverage(x, x).coverage
        1.0
    """
    generated, real = check_features(generated, real)
    reach = radii(real, neighbours)
    held, covered = 0, np.zeros(len(real), bool)
    for block in distance_blocks(generated, real):
        inside = block < reach
        held += int(inside.sum())
        covered |= inside.any(axis=0)
    return DensityCoverage(held / (neighbours * len(generated)), float(covered.mean()))


@dataclass(frozen=True)
class DensityCoverageOfSamples:
    """`density` and `coverage` of samples against data."""

    features: Any = None
    """The network that both are looked at with: inception, resnet20, classifier; None: inception
    where DIFFAX_INCEPTION names its weights, else the classifier, which learns the run's data."""
    samples: int = 10_000
    """Samples."""
    split: str = "train"
    """Which split of the data is compared with; for data without splits all of them."""
    num: int = 10_000
    """Examples of it, at most, from its first on."""
    neighbours: int = 5
    """k."""

    better: ClassVar[Mapping[str, str]] = {"density": "higher", "coverage": "higher"}

    def __call__(self, watched: Watched) -> dict[str, float]:
        """The figures."""
        ours = sample_features(watched, self.features, self.samples).pooled
        reference = watched.reference(self.split)
        real = reference_features(self.features, watched.data, reference, self.num).pooled
        return density_coverage(ours, real, neighbours=self.neighbours)._asdict()
