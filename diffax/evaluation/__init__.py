"""Evaluation: figures that say how good a model and its samples are."""

from diffax.evaluation.digits import DigitQuality, digit_quality
from diffax.evaluation.held_out import HeldOutLoss
from diffax.evaluation.likeness import psnr, sharpness, ssim
from diffax.evaluation.metric import Evaluation, Metric, Watched
from diffax.evaluation.reconstruction import reconstruction_report
from diffax.evaluation.upscaling import upscaling_report
from diffax.evaluation.vectors import sliced_wasserstein

# Metrics during training, by their names on command lines and in the JSON of a run.
BY_NAME: dict[str, type] = {"held_out_loss": HeldOutLoss}

__all__ = [
    "BY_NAME",
    "DigitQuality",
    "Evaluation",
    "HeldOutLoss",
    "Metric",
    "Watched",
    "digit_quality",
    "psnr",
    "reconstruction_report",
    "sharpness",
    "sliced_wasserstein",
    "ssim",
    "upscaling_report",
]
