"""Density and coverage (Naeem et al. 2020)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from diffax.evaluation.neighbours import check_features, distance_blocks, radii


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
