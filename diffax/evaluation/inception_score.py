"""The Inception Score (Salimans et al. 2016)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from diffax.evaluation.estimate import Estimate
from diffax.evaluation.metric import Watched
from diffax.evaluation.networks import Inception
from diffax.evaluation.seen import sample_features


def inception_score(logits: np.ndarray, *, splits: int = 10, seed: int = 2020) -> Estimate:
    """exp of the mean KL divergence from all images' classes to one image's: sure and diverse.

    It sees no real images, so it never notices what is missing or copied. Figures of another
    classifier than Inception are on another scale.

    Args:
        logits: `[N, K]`, of Inception without the last layer's bias, as `FIDInception` gives them.
        splits: parts over which it is computed, each for itself.
        seed: of the order before it is split; the same one as torch-fidelity's with this seed.

    Returns:
        Mean and standard deviation over the parts; 1 (all images alike) to K.

    Raises:
        ValueError: fewer images than parts, or logits that are not finite.

    Example:
        >>> sure_of_each_of_four = 100 * np.tile(np.eye(4), (10, 1))
        >>> round(inception_score(sure_of_each_of_four, splits=1).mean, 6)
        4.0
    """
    logits = np.asarray(logits, np.float64)
    if logits.ndim != 2 or not 1 <= splits <= len(logits):
        raise ValueError(
            f"expected logits [N, K] of at least {max(splits, 1)} images, one for each part, got "
            f"{list(logits.shape)} and {splits} splits"
        )
    if not np.isfinite(logits).all():
        raise ValueError("expected finite logits, got NaN or infinity among them")
    order = np.random.RandomState(seed).permutation(len(logits))
    from scipy.special import log_softmax

    log_p = log_softmax(logits[order], axis=1)
    bounds = np.arange(splits + 1) * len(logits) // splits
    scores = [_score(log_p[low:high]) for low, high in zip(bounds[:-1], bounds[1:], strict=True)]
    return Estimate(float(np.mean(scores)), float(np.std(scores)))


@dataclass(frozen=True)
class InceptionScore:
    """The Inception Score of samples, as `inception_score`."""

    features: Any = Inception()
    """The network that samples are looked at with: inception, resnet20, ..."""
    samples: int = 10_000
    """Samples."""
    splits: int = 10
    """Parts over which it is averaged; fewer where there are fewer samples."""

    better: ClassVar[Mapping[str, str]] = {"inception_score": "higher"}

    def __call__(self, watched: Watched) -> dict[str, float]:
        """The figure, and its spread over the parts, `inception_score_std`.

        Raises:
            ValueError: a network without classes.
        """
        logits = sample_features(watched, self.features, self.samples).logits
        if logits is None:
            raise ValueError("an Inception Score needs a network with classes; use inception")
        found = inception_score(logits, splits=min(self.splits, len(logits)))
        return {"inception_score": found.mean, "inception_score_std": found.std}


def _score(log_p: np.ndarray) -> float:
    from scipy.special import logsumexp

    log_mean = logsumexp(log_p, axis=0) - np.log(len(log_p))
    return float(np.exp(np.mean(np.sum(np.exp(log_p) * (log_p - log_mean), axis=1))))
