"""How good generated 8x8 digits are: recognisable, of every class, and not copied."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import ClassVar

import numpy as np

from diffax.data import Digits
from diffax.evaluation.metric import Watched
from diffax.evaluation.neighbours import nearest_neighbours
from diffax.evaluation.svm import SVM
from diffax.image_range import to_float

SURE = 0.8


@dataclass(frozen=True)
class DigitQuality:
    """Figures of a set of generated digits.

    Attributes:
        sure: share of which an RBF SVM trained on real digits is sure (probability >= 0.8).
            Held-out real digits: 0.94; averages of two digits: 0.23; noise: 0.
        rarest: smallest share of any class, as the SVM sees it.
        commonest: largest share of any class.
        novelty: median distance to the nearest training image over that of held-out real digits.
            Near 1: as far from the training set as real ones are; near 0: copies.
    """

    sure: float
    rarest: float
    commonest: float
    novelty: float


def digit_quality(images: np.ndarray) -> DigitQuality:
    """Judge generated digits against scikit-learn's real ones.

    Args:
        images: `[N, 8, 8, 1]`, uint8.

    Raises:
        ValueError: another shape or type.

    Example:
        >>> from diffax.data import Digits
        >>> real = Digits(split="test").load().arrays()["x"]
        >>> round(digit_quality(real).novelty, 2)
        1.0
    """
    ours, judge = _flat(_checked(images)), _judge()
    probability = judge.svm(ours)
    shares = np.bincount(probability.argmax(axis=1), minlength=10) / len(ours)
    return DigitQuality(
        sure=float(np.mean(probability.max(axis=1) >= SURE)),
        rarest=float(shares.min()),
        commonest=float(shares.max()),
        novelty=float(np.median(nearest_neighbours(ours, judge.known)[0]) / judge.usual),
    )


@dataclass(frozen=True)
class JudgedDigits:
    """`DigitQuality` of samples: `sure`, `rarest`, `commonest`, `novelty`."""

    samples: int = 1000
    """Samples."""

    better: ClassVar[Mapping[str, str]] = {"sure": "higher", "rarest": "higher"}

    def __call__(self, watched: Watched) -> dict[str, float]:
        """The figures."""
        return asdict(digit_quality(watched.samples(self.samples).images))


@dataclass(frozen=True)
class DigitObedience:
    """Figures of digits that were asked for by class.

    Attributes:
        as_asked: share that the SVM reads as the class asked for. Held-out real digits: 0.99.
        diversity: spread within the classes (root mean variance) over that of real digits: 1 is
            as varied, 0 is one digit a class.
    """

    as_asked: float
    diversity: float


def digit_obedience(images: np.ndarray, labels: np.ndarray) -> DigitObedience:
    """Judge digits generated for given classes.

    Args:
        images: `[N, 8, 8, 1]`, uint8.
        labels: `[N]`, 0 to 9, what was asked for; several of each class.

    Raises:
        ValueError: another shape or type.

    Example:
        >>> from diffax.data import Digits
        >>> real = Digits(split="test").load().arrays()
        >>> digit_obedience(real["x"], real["label"]).as_asked > 0.97
        True
    """
    images, labels = _checked(images), np.asarray(labels)
    if labels.shape != images.shape[:1]:
        raise ValueError(f"expected a label for each of {len(images)} images, got {labels.shape}")
    ours, judge = _flat(images), _judge()
    read = judge.svm(ours).argmax(axis=1)
    spread = _spread_within(ours, labels) / _spread_within(judge.known, judge.labels)
    return DigitObedience(as_asked=float(np.mean(read == labels)), diversity=float(spread))


def _spread_within(flat: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Root of the mean variance of a number within the classes that there are."""
    return np.sqrt(np.mean([flat[labels == label].var(axis=0) for label in np.unique(labels)]))


@dataclass(frozen=True)
class _Judge:
    svm: SVM
    known: np.ndarray  # [N, 64], the training set
    labels: np.ndarray  # [N]
    usual: float  # median distance of held-out digits to it


@functools.cache
def _judge() -> _Judge:
    """Learnt from the real digits, once."""
    train, held_out = (Digits(split=split).load().arrays() for split in ("train", "test"))
    known = _flat(train["x"])
    usual = np.median(nearest_neighbours(_flat(held_out["x"]), known)[0])
    return _Judge(SVM(known, train["label"]), known, train["label"], float(usual))


def _checked(images: np.ndarray) -> np.ndarray:
    images = np.asarray(images)
    if images.shape[1:] != (8, 8, 1) or images.dtype != np.uint8:
        raise ValueError(f"expected uint8 [N, 8, 8, 1], got {images.dtype} {images.shape}")
    return images


def _flat(images: np.ndarray) -> np.ndarray:
    return to_float(images).reshape(len(images), -1).astype(np.float64)
