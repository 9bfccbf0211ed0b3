"""Evaluation: figures that say how good a model and its samples are."""

from diffax.evaluation.accuracy import ClassAccuracy, label_accuracy
from diffax.evaluation.bound import BoundBits
from diffax.evaluation.classifier import Classifier
from diffax.evaluation.clip_score import CLIPScore, clip_score
from diffax.evaluation.density_coverage import (
    DensityCoverage,
    DensityCoverageOfSamples,
    density_coverage,
)
from diffax.evaluation.dequantization import DEQUANTIZATIONS, Even, Learned
from diffax.evaluation.digits import (
    DigitObedience,
    DigitQuality,
    JudgedDigits,
    digit_obedience,
    digit_quality,
)
from diffax.evaluation.estimate import Estimate
from diffax.evaluation.features import (
    FeatureNetwork,
    feature_network,
    features_of,
    features_over_processes,
)
from diffax.evaluation.flow import FlowBits
from diffax.evaluation.frechet import Frechet, few_samples, frechet_distance
from diffax.evaluation.held_out import HeldOutLoss
from diffax.evaluation.inception_score import InceptionScore, inception_score
from diffax.evaluation.kernel_distance import KernelDistance, kernel_distance
from diffax.evaluation.likeness import psnr, sharpness, ssim
from diffax.evaluation.mean_discrepancy import MeanDiscrepancy, mean_discrepancy
from diffax.evaluation.memorization import Copies, Memorization, memorization, nearest_pairs
from diffax.evaluation.metric import Curve, Evaluation, Measured, Metric, Watched, measure
from diffax.evaluation.neighbours import nearest_neighbours
from diffax.evaluation.networks import Inception, ResNet20
from diffax.evaluation.pitch import PitchAccuracy, pitch
from diffax.evaluation.precision_recall import (
    PrecisionRecall,
    PrecisionRecallOfSamples,
    precision_recall,
)
from diffax.evaluation.reconstruction import reconstruction_report
from diffax.evaluation.reference import data_fingerprint, reference_statistics
from diffax.evaluation.statistics import Moments, Statistics, moments_of, moments_over_processes
from diffax.evaluation.statistics_file import is_statistics, read_statistics, write_statistics
from diffax.evaluation.tokens import TokenBits
from diffax.evaluation.upscaling import upscaling_report
from diffax.evaluation.vectors import SlicedWasserstein, sliced_wasserstein

# Metrics by their names on command lines and in the JSON of a run.
BY_NAME: dict[str, type] = {
    "held_out_loss": HeldOutLoss,
    "bound": BoundBits,
    "flow": FlowBits,
    "sliced_wasserstein": SlicedWasserstein,
    "digit_quality": JudgedDigits,
    "frechet": Frechet,
    "kid": KernelDistance,
    "inception_score": InceptionScore,
    "precision_recall": PrecisionRecallOfSamples,
    "density_coverage": DensityCoverageOfSamples,
    "class_accuracy": ClassAccuracy,
    "mmd": MeanDiscrepancy,
    "copies": Copies,
    "clip_score": CLIPScore,
    "pitch": PitchAccuracy,
    "token_bits": TokenBits,
}

# Feature networks, by their names on command lines.
FEATURES: dict[str, type] = {
    "inception": Inception,
    "resnet20": ResNet20,
    "classifier": Classifier,
}

__all__ = [
    "BY_NAME",
    "DEQUANTIZATIONS",
    "FEATURES",
    "BoundBits",
    "CLIPScore",
    "ClassAccuracy",
    "Classifier",
    "Copies",
    "Curve",
    "DensityCoverage",
    "DensityCoverageOfSamples",
    "DigitObedience",
    "DigitQuality",
    "Estimate",
    "Evaluation",
    "Even",
    "FeatureNetwork",
    "FlowBits",
    "Frechet",
    "HeldOutLoss",
    "Inception",
    "InceptionScore",
    "JudgedDigits",
    "KernelDistance",
    "Learned",
    "MeanDiscrepancy",
    "Measured",
    "Memorization",
    "Metric",
    "Moments",
    "PitchAccuracy",
    "PrecisionRecall",
    "PrecisionRecallOfSamples",
    "ResNet20",
    "SlicedWasserstein",
    "Statistics",
    "TokenBits",
    "Watched",
    "clip_score",
    "data_fingerprint",
    "density_coverage",
    "digit_obedience",
    "digit_quality",
    "feature_network",
    "features_of",
    "features_over_processes",
    "few_samples",
    "frechet_distance",
    "inception_score",
    "is_statistics",
    "kernel_distance",
    "label_accuracy",
    "mean_discrepancy",
    "measure",
    "memorization",
    "moments_of",
    "moments_over_processes",
    "nearest_neighbours",
    "nearest_pairs",
    "pitch",
    "precision_recall",
    "psnr",
    "read_statistics",
    "reconstruction_report",
    "reference_statistics",
    "sharpness",
    "sliced_wasserstein",
    "ssim",
    "upscaling_report",
    "write_statistics",
]
