"""Evaluation: figures that say how good a model and its samples are."""

from diffax.evaluation.bound import BoundBits
from diffax.evaluation.digits import DigitQuality, JudgedDigits, digit_quality
from diffax.evaluation.features import FeatureNetwork, feature_network, features_of
from diffax.evaluation.fid import Frechet
from diffax.evaluation.flow import FlowBits
from diffax.evaluation.frechet import few_samples, frechet_distance
from diffax.evaluation.held_out import HeldOutLoss
from diffax.evaluation.metric import Curve, Evaluation, Measured, Metric, Watched, measure
from diffax.evaluation.networks import Inception, ResNet20
from diffax.evaluation.statistics import Moments, Statistics, moments_of
from diffax.evaluation.vectors import SlicedWasserstein, sliced_wasserstein

# Metrics by their names on command lines and in the JSON of a run.
BY_NAME: dict[str, type] = {
    "held_out_loss": HeldOutLoss,
    "bound": BoundBits,
    "flow": FlowBits,
    "sliced_wasserstein": SlicedWasserstein,
    "digit_quality": JudgedDigits,
    "frechet": Frechet,
}

# Feature networks, by their names on command lines.
FEATURES: dict[str, type] = {"inception": Inception, "resnet20": ResNet20}

__all__ = [
    "BY_NAME",
    "FEATURES",
    "BoundBits",
    "Curve",
    "DigitQuality",
    "Evaluation",
    "FeatureNetwork",
    "FlowBits",
    "Frechet",
    "HeldOutLoss",
    "Inception",
    "JudgedDigits",
    "Measured",
    "Metric",
    "Moments",
    "ResNet20",
    "SlicedWasserstein",
    "Statistics",
    "Watched",
    "digit_quality",
    "feature_network",
    "features_of",
    "few_samples",
    "frechet_distance",
    "measure",
    "moments_of",
    "sliced_wasserstein",
]
