"""Evaluation: figures that say how good a model and its samples are."""

from diffax.evaluation.bound import BoundBits
from diffax.evaluation.digits import DigitQuality, JudgedDigits, digit_quality
from diffax.evaluation.flow import FlowBits
from diffax.evaluation.held_out import HeldOutLoss
from diffax.evaluation.metric import Curve, Evaluation, Measured, Metric, Watched, measure
from diffax.evaluation.vectors import SlicedWasserstein, sliced_wasserstein

# Metrics by their names on command lines and in the JSON of a run.
BY_NAME: dict[str, type] = {
    "held_out_loss": HeldOutLoss,
    "bound": BoundBits,
    "flow": FlowBits,
    "sliced_wasserstein": SlicedWasserstein,
    "digit_quality": JudgedDigits,
}

__all__ = [
    "BY_NAME",
    "BoundBits",
    "Curve",
    "DigitQuality",
    "Evaluation",
    "FlowBits",
    "HeldOutLoss",
    "JudgedDigits",
    "Measured",
    "Metric",
    "SlicedWasserstein",
    "Watched",
    "digit_quality",
    "measure",
    "sliced_wasserstein",
]
