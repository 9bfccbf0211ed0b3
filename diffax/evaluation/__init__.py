"""Evaluation: figures that say how good a model and its samples are."""

from diffax.evaluation.digits import (
    DigitObedience,
    DigitQuality,
    digit_obedience,
    digit_quality,
)
from diffax.evaluation.held_out import HeldOutLoss
from diffax.evaluation.metric import Evaluation, Metric, Watched
from diffax.evaluation.vectors import sliced_wasserstein

# Metrics during training, by their names on command lines and in the JSON of a run.
BY_NAME: dict[str, type] = {"held_out_loss": HeldOutLoss}

__all__ = [
    "BY_NAME",
    "DigitObedience",
    "DigitQuality",
    "Evaluation",
    "HeldOutLoss",
    "Metric",
    "Watched",
    "digit_obedience",
    "digit_quality",
    "sliced_wasserstein",
]
