"""The Frechet distance between two sets of features (Heusel et al. 2017)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from diffax.evaluation.metric import Measured, Watched
from diffax.evaluation.seen import reference_statistics, sample_statistics
from diffax.evaluation.statistics import Statistics
from diffax.evaluation.statistics_file import read_statistics

FID_COUNT = 50_000
FID_NETWORKS = ("inception", "inception_pytorch")  # with the published weights
_MOST = 10_000  # samples where the recipe says no number


def frechet_distance(generated: Statistics, real: Statistics) -> float:
    """The squared 2-Wasserstein distance of two normal distributions (Dowson & Landau 1982).

        |m - m'|^2 + tr C + tr C' - 2 tr (C C')^(1/2)

    With C = F F^T and C' = F' F'^T the last trace is the sum of the singular values of F^T F'. So
    nothing is ever the root of a difference: covariances may be of any rank, as those of fewer
    examples than features are, and no constant is added to them.

    Args:
        generated, real: of the same network.

    Returns:
        The distance, >= 0. It is the FID where the network is the FID's and each side has at
        least 50,000 examples, see `few_samples`.

    Raises:
        ValueError: statistics of two networks, or of different sizes.

    Example:
        >>> one = Statistics(np.zeros(2), np.eye(2))
        >>> frechet_distance(one, Statistics(np.ones(2), 4 * np.eye(2)))
        4.0
    """
    check_same_network(generated, real)
    step = generated.mean - real.mean
    cross = _factor(generated.covariance).T @ _factor(real.covariance)
    root_trace = np.linalg.svdvals(cross).sum() if cross.size else 0.0
    traces = np.trace(generated.covariance) + np.trace(real.covariance)
    return float(max(step @ step + traces - 2 * root_trace, 0.0))


def few_samples(count: int | None, network: str = "inception") -> str | None:
    """A warning where a Frechet distance of so many examples is too large, else None.

    The expected distance falls as the number of examples grows (Chong & Forsyth 2020); published
    FIDs are of 50,000. Only of the FID's own network is it called FID.

    Args:
        count: of generated examples; None: unknown.
        network: name of the feature network.

    Example:
        >>> few_samples(1000)
        'FID of 1,000 samples: biased upwards, not comparable with published ones of 50,000'
        >>> few_samples(1000, "classifier")
        'Frechet distance of 1,000 samples: biased upwards, comparable only with others of as many'
    """
    if count is None or count >= FID_COUNT:
        return None
    if network in FID_NETWORKS:
        return (
            f"FID of {count:,} samples: biased upwards, not comparable with published ones of "
            f"{FID_COUNT:,}"
        )
    return (
        f"Frechet distance of {count:,} samples: biased upwards, comparable only with others of as "
        "many"
    )


def check_same_network(one: Statistics, other: Statistics) -> None:
    """Refuses statistics that cannot be compared.

    Raises:
        ValueError: of another network, where both say which, or of another size.
    """
    if one.mean.shape != other.mean.shape:
        raise ValueError(
            f"expected statistics of the same network, got {one.mean.size} and {other.mean.size} "
            "features; compute both with one network"
        )
    if one.fingerprint and other.fingerprint and one.fingerprint != other.fingerprint:
        raise ValueError(
            f"expected statistics of the same network, got {one.network} ({one.fingerprint[:12]}) "
            f"and {other.network} ({other.fingerprint[:12]}); compute both with one network"
        )


@dataclass(frozen=True)
class Frechet:
    """The Frechet distance of samples to data, as `frechet`: the FID, where the network is its."""

    features: Any = None
    """The network that both are looked at with: inception, resnet20, classifier; None: inception
    where DIFFAX_INCEPTION names its weights, else the classifier, which learns the run's data."""
    samples: int | None = None
    """Samples; published FIDs are of 50,000. None: as many as it is compared with, at most
    10,000."""
    split: str = "train"
    """Which split of the data is compared with; for data without splits all of them."""
    num: int | None = None
    """Examples of it, at most, from its first on; None: all."""
    statistics: str | None = None
    """A .npz of the reference's mu and sigma, as pytorch-fid keeps them, in place of data."""

    better: ClassVar[Mapping[str, str]] = {"frechet": "lower"}

    def __post_init__(self) -> None:
        """Checks every number."""
        given = [n for n in (self.samples, self.num) if n is not None]
        if not all(2 <= n <= 10**9 for n in given):
            raise ValueError(
                "a covariance needs at least 2 examples: metrics samples and num must be >= 2, got "
                f"{self.samples} and {self.num}"
            )

    def __call__(self, watched: Watched) -> dict[str, float]:
        """The figure."""
        return dict(self.measure(watched).figures)

    def measure(self, watched: Watched) -> Measured:
        """The figure, with the names of network and reference.

        Raises:
            ValueError: no data, no samples, or statistics of another network.
        """
        if self.statistics is None:
            reference: Any = watched.reference(self.split)
            real = reference_statistics(self.features, watched.data, reference, self.num)
        else:
            reference, real = self.statistics, read_statistics(self.statistics)
        samples = self.samples or min(real.count or _MOST, _MOST)
        ours = sample_statistics(watched, self.features, samples)
        distance = frechet_distance(ours, real)
        count = "an unknown number" if real.count is None else f"{real.count:,}"
        note = (
            f"frechet: {ours.count:,} samples against {count} of {reference}, network "
            f"{ours.network} {ours.fingerprint[:12]}"
        )
        warning = few_samples(ours.count, ours.network)
        return Measured({"frechet": distance}, notes=(note, *([warning] if warning else [])))


def _factor(covariance: np.ndarray) -> np.ndarray:
    """F `[D, R]` with F F^T = C, for a C of rank R."""
    values, vectors = np.linalg.eigh((covariance + covariance.T) / 2)
    # What lies below is the rounding of zeros.
    floor = values.size * np.finfo(np.float64).eps * max(values[-1], 0.0)
    kept = values > floor
    return vectors[:, kept] * np.sqrt(values[kept])
