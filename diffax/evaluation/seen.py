"""Samples and reference data as a feature network sees them, each looked at once."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import numpy as np

from diffax.data import Dataset
from diffax.evaluation.features import FeatureNetwork, blocks_of
from diffax.evaluation.metric import Watched
from diffax.evaluation.statistics import Statistics, moments_of
from diffax.image_range import to_uint8


@functools.lru_cache(maxsize=2)
def network(features: Any, data: Any) -> FeatureNetwork:
    """The feature network of a choice, loaded once.

    Args:
        features: a noun of `FEATURES`.
        data: noun of the data that a network without weights of its own learns from.
    """
    return features.load(None if data is None else data.load())


@functools.lru_cache(maxsize=4)
def reference_statistics(features: Any, data: Any, reference: Any, num: int | None) -> Statistics:
    """Mean and covariance of reference data, computed once in a process.

    Args:
        features: a noun of `FEATURES`.
        data: see `network`.
        reference: noun of the reference data.
        num: the first so many examples; None: all.
    """
    seen = network(features, data)
    return moments_of(seen, _colours(_reference_blocks(reference.load(), num))).statistics(seen)


def sample_statistics(watched: Watched, features: Any, num: int) -> Statistics:
    """Mean and covariance of samples."""
    seen = network(features, watched.data)
    data = watched.samples(num).data
    return moments_of(seen, _colours(blocks_of(np.asarray(data)))).statistics(seen)


def _reference_blocks(dataset: Dataset, num: int | None) -> Iterator[np.ndarray]:
    left = dataset.spec.size if num is None else num
    for block in dataset.blocks():
        if left <= 0:
            return
        yield block["x"][:left]
        left -= len(block["x"])


def _colours(blocks: Any) -> Iterator[np.ndarray]:
    """Grey images as grey colours: feature networks were made for three channels."""
    for block in blocks:
        if block.ndim == 4:
            block = np.repeat(to_uint8(block), 3 if block.shape[-1] == 1 else 1, axis=-1)
        yield block
