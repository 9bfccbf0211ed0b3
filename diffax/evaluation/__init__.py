"""Evaluation: figures that say how good a model and its samples are."""

from diffax.evaluation.accuracy import label_accuracy
from diffax.evaluation.classifier import Classifier
from diffax.evaluation.density_coverage import DensityCoverage, density_coverage
from diffax.evaluation.digits import DigitQuality, digit_quality
from diffax.evaluation.estimate import Estimate
from diffax.evaluation.features import FeatureNetwork, feature_network, features_of
from diffax.evaluation.frechet import few_samples, frechet_distance
from diffax.evaluation.held_out import HeldOutLoss
from diffax.evaluation.inception_score import inception_score
from diffax.evaluation.kernel_distance import kernel_distance
from diffax.evaluation.mean_discrepancy import mean_discrepancy
from diffax.evaluation.memorization import Memorization, memorization, nearest_pairs
from diffax.evaluation.metric import Evaluation, Metric, Watched
from diffax.evaluation.neighbours import nearest_neighbours
from diffax.evaluation.networks import Inception, ResNet20
from diffax.evaluation.precision_recall import PrecisionRecall, precision_recall
from diffax.evaluation.reference import data_fingerprint, reference_statistics
from diffax.evaluation.statistics import Moments, Statistics, moments_of
from diffax.evaluation.statistics_file import is_statistics, read_statistics, write_statistics
from diffax.evaluation.vectors import sliced_wasserstein

# Metrics during training, by their names on command lines and in the JSON of a run.
BY_NAME: dict[str, type] = {"held_out_loss": HeldOutLoss}

# Feature networks, by their names on command lines.
FEATURES: dict[str, type] = {
    "inception": Inception,
    "resnet20": ResNet20,
    "classifier": Classifier,
}

__all__ = [
    "BY_NAME",
    "FEATURES",
    "Classifier",
    "DensityCoverage",
    "DigitQuality",
    "Estimate",
    "Evaluation",
    "FeatureNetwork",
    "HeldOutLoss",
    "Inception",
    "Memorization",
    "Metric",
    "Moments",
    "PrecisionRecall",
    "ResNet20",
    "Statistics",
    "Watched",
    "data_fingerprint",
    "density_coverage",
    "digit_quality",
    "feature_network",
    "features_of",
    "few_samples",
    "frechet_distance",
    "inception_score",
    "is_statistics",
    "kernel_distance",
    "label_accuracy",
    "mean_discrepancy",
    "memorization",
    "moments_of",
    "nearest_neighbours",
    "nearest_pairs",
    "precision_recall",
    "read_statistics",
    "reference_statistics",
    "sliced_wasserstein",
    "write_statistics",
]
