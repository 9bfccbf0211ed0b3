"""The Frechet distance between two sets of features (Heusel et al. 2017)."""

from __future__ import annotations

import numpy as np

from diffax.evaluation.statistics import Statistics

FID_COUNT = 50_000


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


def few_samples(count: int | None) -> str | None:
    """A warning where a Frechet distance of so many examples is too large, else None.

    The expected distance falls as the number of examples grows (Chong & Forsyth 2020); published
    FIDs are of 50,000.

    Example:
        >>> few_samples(1000)
        'FID of 1,000 samples: biased upwards, not comparable with published ones of 50,000'
    """
    if count is None or count >= FID_COUNT:
        return None
    return (
        f"FID of {count:,} samples: biased upwards, not comparable with published ones of "
        f"{FID_COUNT:,}"
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


def _factor(covariance: np.ndarray) -> np.ndarray:
    """F `[D, R]` with F F^T = C, for a C of rank R."""
    values, vectors = np.linalg.eigh((covariance + covariance.T) / 2)
    # What lies below is the rounding of zeros.
    floor = values.size * np.finfo(np.float64).eps * max(values[-1], 0.0)
    kept = values > floor
    return vectors[:, kept] * np.sqrt(values[kept])
