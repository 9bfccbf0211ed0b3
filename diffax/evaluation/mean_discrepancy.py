"""Maximum mean discrepancy of vectors (Gretton et al. 2012)."""

from __future__ import annotations

import numpy as np

from diffax.evaluation.neighbours import check_features, distance_blocks

WIDTHS = (0.1, 0.3, 1.0, 3.0)


def mean_discrepancy(
    generated: np.ndarray, real: np.ndarray, *, widths: tuple[float, ...] = WIDTHS
) -> float:
    """Squared maximum mean discrepancy, unbiased, in units of the real set's standard deviations.

    The kernel is the mean of Gaussians exp(-|x - y|^2 / (2 w^2)), so that differences of any size
    count. A coordinate that is constant in the real set is taken as it is.

    Args:
        generated, real: `[N, D]` and `[M, D]`, at least two each; N M distances are computed.
        widths: the Gaussians' standard deviations w, > 0.

    Returns:
        0 on average for equal distributions, and then a little below zero half the time; at most 2.

    Raises:
        ValueError: fewer than two vectors, two sizes D, numbers that are not finite, or bad widths.

    Example:
        >>> x, y = np.random.default_rng(0).normal(size=(2, 500, 2))
        >>> mean_discrepancy(x, y) < 0.01 < mean_discrepancy(x, y + 1)
        True
    """
    generated, real = check_features(generated, real)
    if min(len(generated), len(real)) < 2 or not widths or min(widths) <= 0:
        raise ValueError(
            f"expected at least two vectors in each set and widths > 0, got {len(generated)} and "
            f"{len(real)} vectors, widths {widths}"
        )
    scale = np.where(np.ptp(real, axis=0) > 0, real.std(axis=0), 1.0)
    x, y = generated / scale, real / scale

    def total(a: np.ndarray, b: np.ndarray) -> float:
        blocks = distance_blocks(a, b)
        return sum(np.exp(-(d**2) / (2 * w**2)).sum() for d in blocks for w in widths) / len(widths)

    def among(a: np.ndarray) -> float:
        # Each vector is at distance 0 from itself, where the kernel is 1.
        return (total(a, a) - len(a)) / (len(a) * (len(a) - 1))

    return float(among(x) + among(y) - 2 * total(x, y) / (len(x) * len(y)))
