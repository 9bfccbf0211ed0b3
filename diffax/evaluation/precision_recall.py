"""Improved precision and recall (Kynkaanniemi et al. 2019)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from diffax.evaluation.neighbours import check_features, distance_blocks, radii


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


def _share_within(x: np.ndarray, centres: np.ndarray, neighbours: int) -> float:
    reach = radii(centres, neighbours)
    inside = [(block <= reach).any(axis=1) for block in distance_blocks(x, centres)]
    return float(np.concatenate(inside).mean())
