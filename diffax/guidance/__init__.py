"""Denoiser -> Denoiser: thresholding, guidance by a second model, a classifier or a measurement.

Each is a frozen dataclass that wraps a denoiser and is one. Scales, labels and measurements are
traced: changing them never recompiles.
"""

from diffax.guidance.classifier import ClassifierGuidance
from diffax.guidance.classifier_free import ClassifierFree, Guided, rescaled
from diffax.guidance.instructed import Instructed
from diffax.guidance.inverse_problem import Reconstruction
from diffax.guidance.thresholding import Clip, DynamicThreshold, with_x0

__all__ = [
    "ClassifierFree",
    "ClassifierGuidance",
    "Clip",
    "DynamicThreshold",
    "Guided",
    "Instructed",
    "Reconstruction",
    "rescaled",
    "with_x0",
]
