"""Mean and covariance of features, gathered piece by piece."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from diffax.evaluation.features import FeatureNetwork


@dataclass(frozen=True)
class Statistics:
    """A normal distribution fitted to features.

    Attributes:
        mean: `[D]` float64.
        covariance: `[D, D]` float64, unbiased (divided by count - 1).
        count: of how many examples; None where a file does not say.
        network: the feature network's name; empty where a file does not say.
        fingerprint: the feature network's; empty where a file does not say.
    """

    mean: np.ndarray
    covariance: np.ndarray
    count: int | None = None
    network: str = ""
    fingerprint: str = ""

    def __post_init__(self) -> None:
        """Checks shapes and numbers."""
        mean = np.asarray(self.mean, np.float64)
        covariance = np.asarray(self.covariance, np.float64)
        if mean.ndim != 1 or covariance.shape != (mean.size, mean.size):
            raise ValueError(
                f"expected a mean [D] and a covariance [D, D], got {list(mean.shape)} and "
                f"{list(covariance.shape)}"
            )
        if not (np.isfinite(mean).all() and np.isfinite(covariance).all()):
            raise ValueError("expected a finite mean and covariance, got NaN or infinity in them")
        object.__setattr__(self, "mean", mean)
        object.__setattr__(self, "covariance", covariance)


@dataclass(frozen=True)
class Moments:
    """A running mean and scatter: counts, sums and outer products that can be merged.

    Attributes:
        count: examples so far.
        mean: `[D]` float64.
        scatter: `[D, D]` float64, the sum of the outer products of the deviations from the mean.

    Example:
        >>> x = np.random.default_rng(0).normal(size=(100, 3))
        >>> moments = Moments.zero(3).update(x[:60]).merge(Moments.zero(3).update(x[60:]))
        >>> bool(np.allclose(moments.statistics().covariance, np.cov(x, rowvar=False)))
        True
    """

    count: int
    mean: np.ndarray
    scatter: np.ndarray

    @classmethod
    def zero(cls, dims: int) -> Moments:
        """Of no examples, with `dims` features each."""
        return cls(0, np.zeros(dims), np.zeros((dims, dims)))

    def update(self, features: Any) -> Moments:
        """With more examples.

        Args:
            features: `[B, D]`, finite; summed in float64.

        Raises:
            ValueError: another D, or numbers that are not finite.
        """
        features = np.asarray(features, np.float64)
        if features.ndim != 2 or features.shape[1] != self.mean.size:
            raise ValueError(
                f"expected features [B, {self.mean.size}], got shape {list(features.shape)}"
            )
        if not np.isfinite(features).all():
            raise ValueError("expected finite features, got NaN or infinity among them")
        if not len(features):
            return self
        mean = features.mean(axis=0)
        centred = features - mean
        return self.merge(Moments(len(features), mean, centred.T @ centred))

    def merge(self, other: Moments) -> Moments:
        """Of both sets together (Chan, Golub & LeVeque 1979).

        Raises:
            ValueError: another number of features.
        """
        if self.mean.shape != other.mean.shape:
            raise ValueError(
                f"expected moments of {self.mean.size} features, got {other.mean.size}"
            )
        count = self.count + other.count
        if not count:
            return self
        step = other.mean - self.mean
        between = np.outer(step, step) * (self.count * other.count / count)
        mean = self.mean + step * (other.count / count)
        return Moments(count, mean, self.scatter + other.scatter + between)

    def over_processes(self) -> Moments:
        """Of all processes' examples together, the same everywhere; every process calls it."""
        if jax.process_count() == 1:
            return self
        packed = np.concatenate([[self.count], self.mean, self.scatter.ravel()])
        # As bytes: JAX would round float64 to float32.
        gathered = np.asarray(multihost_utils.process_allgather(packed.view(np.uint8)))
        dims = self.mean.size
        merged = Moments.zero(dims)
        for row in gathered:
            count, mean, scatter = np.split(row.view(np.float64), [1, 1 + dims])
            merged = merged.merge(Moments(int(count[0]), mean, scatter.reshape(dims, dims)))
        return merged

    def statistics(self, network: FeatureNetwork | None = None) -> Statistics:
        """Mean and unbiased covariance.

        Args:
            network: whose features these are.

        Raises:
            ValueError: fewer than two examples.
        """
        if self.count < 2:
            raise ValueError(f"a covariance needs at least 2 examples, got {self.count}")
        named = ("", "") if network is None else (network.name, network.fingerprint)
        return Statistics(self.mean, self.scatter / (self.count - 1), self.count, *named)


def moments_of(network: FeatureNetwork, blocks: Iterable[Any]) -> Moments:
    """The moments of a stream of examples; nothing but them is kept.

    Args:
        network: what to look with.
        blocks: examples, some at a time, as `FeatureNetwork` takes them.

    Raises:
        ValueError: no examples, or what `FeatureNetwork` refuses.
    """
    return _moments(network(block).pooled for block in blocks)


def moments_over_processes(network: FeatureNetwork, blocks: Iterable[Any]) -> Moments:
    """`moments_of` where every process has all examples: each looks at a part, all get the whole.

    Args:
        network: what to look with, the same in every process.
        blocks: as for `moments_of`, the same in every process, which all call this.

    Raises:
        ValueError: no examples, or what `FeatureNetwork` refuses.
    """
    index, count = jax.process_index(), jax.process_count()

    def seen(block: Any) -> np.ndarray:
        mine = block[index::count]
        # Even a process without a share has to know how many features there are.
        return network(mine if len(mine) else block[:1]).pooled[: len(mine)]

    return _moments(map(seen, blocks)).over_processes()


def _moments(parts: Iterable[np.ndarray]) -> Moments:
    moments = None
    for pooled in parts:
        moments = (moments or Moments.zero(pooled.shape[1])).update(pooled)
    if moments is None:
        raise ValueError("expected examples, got none")
    return moments
