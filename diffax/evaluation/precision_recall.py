"""Improved precision and recall (Kynkaanniemi et al. 2019)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from diffax.evaluation.metric import Watched
from diffax.evaluation.neighbours import check_features, distance_blocks, radii
from diffax.evaluation.seen import reference_features, sample_features


class PrecisionRecall(NamedTuple):
    """How much of each set lies within the other.

    Attributes:
        precision: share of generated examples within the real ones' surroundings: quality.
        recall: share of real examples within the generated ones' surroundings: variety.
    """

    precision: float
    recall: float


def precision_recall(
    generated: np.ndarray, real: np.ndarray, *, neighbours: int = 3
) -> PrecisionRecall:
    """Precision and recall, where a set's surroundings are balls about its examples.

    A ball reaches to its centre's k-th nearest neighbour in the same set. Both figures grow with
    fewer examples: compare equal numbers only.

    Args:
        generated, real: features `[N, D]` and `[M, D]`.
        neighbours: k.

    Raises:
        ValueError: not more than k examples, features of two sizes, or not finite.

    Example:
        >>> x = np.random.default_rng(0).normal(size=(200, 2))
        >>> precision_recall(x[:100], x).precision
        1.0
    """
    generated, real = check_features(generated, real)
    return PrecisionRecall(
        _share_within(generated, real, neighbours), _share_within(real, generated, neighbours)
    )


@dataclass(frozen=True)
class PrecisionRecallOfSamples:
    """`precision` and `recall` of samples against data."""

    features: Any = None
    """The network that both are looked at with: inception, resnet20, classifier; None: inception
    where DIFFAX_INCEPTION names its weights, else the classifier, which learns the run's data."""
    samples: int = 10_000
    """Samples."""
    split: str = "train"
    """Which split of the data is compared with; for data without splits all of them."""
    num: int = 10_000
    """Examples of it, at most, from its first on."""
    neighbours: int = 3
    """k."""

    better: ClassVar[Mapping[str, str]] = {"precision": "higher", "recall": "higher"}

    def __call__(self, watched: Watched) -> dict[str, float]:
        """The figures."""
        ours = sample_features(watched, self.features, self.samples).pooled
        reference = watched.reference(self.split)
        real = reference_features(self.features, watched.data, reference, self.num).pooled
        return precision_recall(ours, real, neighbours=self.neighbours)._asdict()


def _share_within(x: np.ndarray, centres: np.ndarray, neighbours: int) -> float:
    reach = radii(centres, neighbours)
    inside = [(block <= reach).any(axis=1) for block in distance_blocks(x, centres)]
    return float(np.concatenate(inside).mean())
