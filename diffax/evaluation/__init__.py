"""Evaluation: figures that say how good samples are, for data small enough to know exactly."""

from diffax.evaluation.digits import DigitQuality, digit_quality
from diffax.evaluation.vectors import sliced_wasserstein

__all__ = ["DigitQuality", "digit_quality", "sliced_wasserstein"]
