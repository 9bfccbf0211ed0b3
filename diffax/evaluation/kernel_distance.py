"""The kernel distance of features, with Inception's the KID (Binkowski et al. 2018)."""

from __future__ import annotations

import numpy as np

from diffax.evaluation.estimate import Estimate
from diffax.evaluation.neighbours import check_features


def kernel_distance(
    generated: np.ndarray,
    real: np.ndarray,
    *,
    subsets: int = 100,
    subset_size: int = 1000,
    seed: int = 2020,
) -> Estimate:
    """Squared maximum mean discrepancy with the kernel (x.y / D + 1)^3, unbiased, over subsets.

    Without bias the figure does not depend on how many examples there are, and may be a little
    below zero for equal distributions.

    Args:
        generated, real: features `[N, D]` and `[M, D]`.
        subsets: how many pairs of random subsets.
        subset_size: examples in each.
        seed: of the subsets; the same ones as torch-fidelity's with this seed.

    Returns:
        Mean and standard deviation over the subsets.

    Raises:
        ValueError: fewer examples than `subset_size`, features of two sizes, or not finite.

    Example:
        >>> x, y = np.random.default_rng(0).normal(size=(2, 500, 8))
        >>> kernel_distance(x, y + 1, subsets=5, subset_size=200).mean > 0.5
        True
    """
    generated, real = check_features(generated, real)
    fewest = min(len(generated), len(real))
    if not 2 <= subset_size <= fewest or subsets < 1:
        raise ValueError(
            f"expected subsets of 2 to {fewest} examples (there are {len(generated)} and "
            f"{len(real)}) and at least one of them, got subset_size {subset_size}, subsets "
            f"{subsets}; set a smaller subset_size, or draw more samples"
        )
    # NumPy promises that this generator's draws never change.
    chosen = np.random.RandomState(seed)
    found = [
        _discrepancy(
            *(x[chosen.choice(len(x), subset_size, replace=False)] for x in (generated, real))
        )
        for _ in range(subsets)
    ]
    return Estimate(float(np.mean(found)), float(np.std(found)))


def _discrepancy(x: np.ndarray, y: np.ndarray) -> float:
    """Unbiased: a pair of an example with itself does not count (Gretton et al. 2012, eq. 3)."""

    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return (a @ b.T / a.shape[1] + 1) ** 3

    def among(a: np.ndarray) -> float:
        k = kernel(a, a)
        return (k.sum() - np.trace(k)) / (len(a) * (len(a) - 1))

    return float(among(x) + among(y) - 2 * kernel(x, y).mean())
