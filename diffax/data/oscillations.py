"""Random oscillations whose law is known: a Gaussian process of two channels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from diffax.data.dataset import Dataset
from diffax.data.options import check_split
from diffax.data.source import Batch, Source, columns

MOST = 1_000_000
_TEST_SEED = 2**31  # a test set's seed is the train set's plus this


@dataclass(frozen=True)
class Oscillations:
    """Draws of a stationary Gaussian process, float32 [length, 2], mean 0 and variance 1.

    The channels are the real and the imaginary part of a process whose covariance at distance tau
    is `exp(-tau^2 / (2 memory^2)) exp(2 pi i tau / period)`: the second follows the first by a
    quarter of a period. Whatever is missing, the best guess is known; see `covariance`.

    Example:
        >>> Oscillations(num=10).load().batch(0, seed=0, batch_size=4)["x"].shape
        (4, 64, 2)
    """

    num: int = 4096
    """How many."""

    length: int = 64
    """Moments of each, at most 1,024."""

    period: float = 16.0
    """Of the oscillation, in moments."""

    memory: float = 24.0
    """For how many moments amplitude and phase stay what they are."""

    seed: int = 0
    """Of the set, 0 to 2**31 - 1."""

    split: Literal["train", "test"] = "train"
    """train, or test: a fresh draw."""

    def __post_init__(self) -> None:
        """Checks every value."""
        if not 1 <= self.num <= MOST:
            raise ValueError(f"data.num must be 1 to {MOST:,}, got {self.num}")
        if not 2 <= self.length <= 1024:
            raise ValueError(f"data.length must be 2 to 1,024, got {self.length}")
        if not (self.period > 0 and self.memory > 0):
            raise ValueError(
                f"data.period and data.memory must be > 0, got {self.period} and {self.memory}"
            )
        if not 0 <= self.seed < _TEST_SEED:
            raise ValueError(f"data.seed must be 0 to 2**31 - 1, got {self.seed}")
        check_split(self.split, ("train", "test"))

    def load(self) -> Dataset:
        """Draws the set."""
        rng = np.random.default_rng(self.seed + (_TEST_SEED if self.split == "test" else 0))
        values, vectors = np.linalg.eigh(covariance(self.length, self.period, self.memory))
        root = vectors * np.sqrt(np.clip(values, 0, None))
        drawn = rng.standard_normal((self.num, 2 * self.length)) @ root.T
        x = drawn.reshape(self.num, self.length, 2).astype(np.float32)

        def read(rows: np.ndarray) -> Batch:
            return {"x": x[rows]}

        source = Source(
            columns=columns((self.length, 2), "float32"),
            size=self.num,
            read=read,
            mean=(0.0, 0.0),
            std=(1.0, 1.0),
        )
        return Dataset(f"oscillations ({self.split})", source)


def covariance(length: int, period: float, memory: float) -> np.ndarray:
    """Of all numbers of a draw, `[2 length, 2 length]`, moment by moment, channel by channel."""
    tau = np.arange(length)[:, None] - np.arange(length)[None, :]
    envelope, angle = np.exp(-(tau**2) / (2 * memory**2)), 2 * np.pi * tau / period
    # Re z(t) Re z(s) -> cos, Im z(t) Re z(s) -> sin: what turns together.
    blocks = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) * envelope
    return blocks.transpose(2, 0, 3, 1).reshape(2 * length, 2 * length)


def best_guess(x: np.ndarray, missing: np.ndarray, process: Oscillations) -> np.ndarray:
    """The mean of what is missing, given all else: no guess has a smaller squared error.

    Args:
        x: `[N, length, 2]`; what is missing is not looked at.
        missing: bool `[length, 2]`.
        process: whose draws they are.

    Returns:
        float64 `[N, length, 2]`, the rest as it was.
    """
    law = covariance(process.length, process.period, process.memory)
    law += 1e-6 * np.eye(len(law))  # draws are float32, and smooth
    gap, flat = missing.ravel(), np.asarray(x, np.float64).reshape(len(x), -1).copy()
    weights = np.linalg.solve(law[np.ix_(~gap, ~gap)], law[np.ix_(~gap, gap)])
    flat[:, gap] = flat[:, ~gap] @ weights
    return flat.reshape(x.shape)
