"""Evaluation: figures that say how good a model and its samples are."""

from diffax.evaluation.digits import DigitQuality, digit_quality
from diffax.evaluation.features import FeatureNetwork, feature_network, features_of
from diffax.evaluation.frechet import few_samples, frechet_distance
from diffax.evaluation.held_out import HeldOutLoss
from diffax.evaluation.metric import Evaluation, Metric, Watched
from diffax.evaluation.networks import Inception, ResNet20
from diffax.evaluation.statistics import Moments, Statistics, moments_of
from diffax.evaluation.vectors import sliced_wasserstein

# Metrics during training, by their names on command lines and in the JSON of a run.
BY_NAME: dict[str, type] = {"held_out_loss": HeldOutLoss}

# Feature networks, by their names on command lines.
FEATURES: dict[str, type] = {"inception": Inception, "resnet20": ResNet20}

__all__ = [
    "BY_NAME",
    "FEATURES",
    "DigitQuality",
    "Evaluation",
    "FeatureNetwork",
    "HeldOutLoss",
    "Inception",
    "Metric",
    "Moments",
    "ResNet20",
    "Statistics",
    "Watched",
    "digit_quality",
    "feature_network",
    "features_of",
    "few_samples",
    "frechet_distance",
    "moments_of",
    "sliced_wasserstein",
]
