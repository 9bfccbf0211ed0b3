"""Held-out examples: in blocks, with a model conditioned on them, and the interval of a mean."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from diffax.data import Dataset
from diffax.denoiser import Network

_RESAMPLES = 1000


def blocks(dataset: Dataset, num: int, size: int = 256) -> Iterator[tuple[int, dict, int]]:
    """The first `num` examples, some at a time, all blocks of one size.

    Args:
        dataset: fewer examples where it has fewer.
        num: how many.
        size: of a block, at most.

    Yields:
        The number of a block's first example, the block, and how many of its examples count: the
        last block is filled up with examples of its own, so that one program serves all.
    """
    num = min(num, dataset.spec.size)
    for start in range(0, num, size):
        rows = np.arange(start, start + min(size, num)) % num
        yield start, dataset.examples(rows), min(size, num - start)


def denoiser_of(model: Any, batch: Any) -> Network:
    """A model's network, told what a batch says of its own examples; without limits or guidance."""
    told = model.conditioner.columns(batch)
    condition = model.conditioner.encode(model.conditioner.params, told)
    network = model.network
    return Network(network.module.apply, network.params, condition, model.parameterization)


def stretch_of(model: Any, shape: tuple[int, ...]) -> float:
    """How much the codec stretches an example, in nats: `log p(raw) = log p(x0) + stretch`.

    Raises:
        ValueError: a codec that loses something, such as an autoencoder.
    """
    if not hasattr(model.codec, "log_stretch"):
        raise ValueError(
            "likelihoods of data need a codec that can be undone: pixels, standardize or "
            f"identity; this model's is {type(model.codec).__name__}"
        )
    return model.codec.log_stretch(shape)


def interval(values: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """The 95 % interval of the mean of `values`, `[N]`, by the bootstrap (Efron 1979).

    Example:
        >>> low, high = interval(np.random.default_rng(0).normal(size=400))
        >>> bool(-0.15 < low < 0 < high < 0.15)
        True
    """
    values = np.asarray(values, np.float64)
    rng = np.random.default_rng(seed)
    means = [values[rng.integers(len(values), size=len(values))].mean() for _ in range(_RESAMPLES)]
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)
