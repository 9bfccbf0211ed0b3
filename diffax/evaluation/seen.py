"""Samples and reference data as a feature network sees them, each looked at once."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from diffax.evaluation.classifier import Classifier
from diffax.evaluation.features import FeatureNetwork, features_of, features_over_processes
from diffax.evaluation.metric import Watched
from diffax.evaluation.networks import INCEPTION_VARIABLE, Inception
from diffax.evaluation.statistics import Moments, Statistics, moments_over_processes
from diffax.image_range import to_uint8
from diffax.models import Features


def chosen(features: Any) -> Any:
    """A noun of `FEATURES`: the one that was chosen, or the best that can be had without a word."""
    if features is not None:
        return features
    return Inception() if os.environ.get(INCEPTION_VARIABLE) else Classifier()


@functools.lru_cache(maxsize=2)
def network(features: Any, data: Any) -> FeatureNetwork:
    """The feature network of a choice, loaded once.

    Args:
        features: a noun of `FEATURES`.
        data: noun of the data that a network without weights of its own learns from, or None.
    """
    return features.load(None if data is None else data.load())


def sample_features(watched: Watched, features: Any, num: int) -> Features:
    """Features of samples, looked at once for all metrics; processes share them.

    Args:
        watched: whose samples.
        features: a noun of `FEATURES`, or None, see `chosen`.
        num: how many samples.
    """
    features = chosen(features)
    key = (features, num)
    if key not in watched.kept:
        data = np.asarray(watched.samples(num).data)
        seen = network(features, watched.data)
        watched.kept[key] = features_over_processes(seen, _shown(features, data))
    return watched.kept[key]


def sample_statistics(watched: Watched, features: Any, num: int) -> Statistics:
    """Mean and covariance of features of samples."""
    pooled = sample_features(watched, features, num).pooled
    moments = Moments.zero(pooled.shape[1]).update(pooled)
    return moments.statistics(network(chosen(features), watched.data))


@functools.lru_cache(maxsize=2)
def reference_features(features: Any, data: Any, reference: Any, num: int | None) -> Features:
    """Features of reference data, computed once in a process.

    Args:
        features: a noun of `FEATURES`, or None, see `chosen`.
        data: see `network`.
        reference: noun of the reference data.
        num: the first so many examples; None: all.
    """
    features = chosen(features)
    return features_of(network(features, data), _blocks(features, reference, num))


@functools.lru_cache(maxsize=4)
def reference_statistics(features: Any, data: Any, reference: Any, num: int | None) -> Statistics:
    """Mean and covariance of them, without keeping them; arguments as for `reference_features`.

    Each process looks at a part of them.
    """
    features = chosen(features)
    seen = network(features, data)
    return moments_over_processes(seen, _blocks(features, reference, num)).statistics(seen)


def _blocks(features: Any, reference: Any, num: int | None) -> Iterator[np.ndarray]:
    dataset = reference.load()
    left = dataset.spec.size if num is None else num
    for block in dataset.blocks():
        if left <= 0:
            return
        yield _shown(features, block["x"][:left])
        left -= len(block["x"])


def _shown(features: Any, examples: np.ndarray) -> np.ndarray:
    """Grey images as grey colours, for networks that were made for three channels."""
    grey = examples.ndim == 4 and examples.shape[-1] == 1
    if not (grey and getattr(features, "colours", False)):
        return examples
    return np.repeat(to_uint8(examples), 3, axis=-1)
