"""The kernel distance of features, with Inception's the KID (Binkowski et al. 2018)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from diffax.evaluation.estimate import Estimate
from diffax.evaluation.metric import Watched
from diffax.evaluation.neighbours import check_features
from diffax.evaluation.seen import reference_features, sample_features


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


@dataclass(frozen=True)
class KernelDistance:
    """The kernel distance (KID) of samples to data, as `kid`, without bias at any number."""

    features: Any = None
    """The network that both are looked at with: inception, resnet20, classifier; None: inception
    where DIFFAX_INCEPTION names its weights, else the classifier, which learns the run's data."""
    samples: int = 5000
    """Samples."""
    split: str = "train"
    """Which split of the data is compared with; for data without splits all of them."""
    num: int = 10_000
    """Examples of it, at most, from its first on."""
    subsets: int = 100
    """Over which it is averaged."""
    subset_size: int = 1000
    """Examples in each; fewer where there are fewer."""

    better: ClassVar[Mapping[str, str]] = {"kid": "lower"}

    def __call__(self, watched: Watched) -> dict[str, float]:
        """The figure, and its spread over the subsets, `kid_std`."""
        ours = sample_features(watched, self.features, self.samples).pooled
        reference = watched.reference(self.split)
        real = reference_features(self.features, watched.data, reference, self.num).pooled
        size = min(self.subset_size, len(ours), len(real))
        found = kernel_distance(ours, real, subsets=self.subsets, subset_size=size)
        return {"kid": found.mean, "kid_std": found.std}


def _discrepancy(x: np.ndarray, y: np.ndarray) -> float:
    """Unbiased: a pair of an example with itself does not count (Gretton et al. 2012, eq. 3)."""

    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return (a @ b.T / a.shape[1] + 1) ** 3

    def among(a: np.ndarray) -> float:
        k = kernel(a, a)
        return (k.sum() - np.trace(k)) / (len(a) * (len(a) - 1))

    return float(among(x) + among(y) - 2 * kernel(x, y).mean())
