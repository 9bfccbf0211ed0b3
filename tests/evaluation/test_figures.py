"""Figures of features against closed forms, properties and the reference's numbers."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from diffax.evaluation import (
    density_coverage,
    frechet_distance,
    inception_score,
    kernel_distance,
    label_accuracy,
    mean_discrepancy,
    nearest_neighbours,
    precision_recall,
)
from diffax.evaluation.statistics import Moments

GOLDEN = Path(__file__).parents[1] / "golden/evaluation/metrics.npz"


@pytest.fixture(scope="module")
def golden():
    return dict(np.load(GOLDEN))


def normal(n, dims=16, seed=0, shift=0.0):
    return np.random.default_rng(seed).normal(size=(n, dims)) + shift


def statistics(x):
    return Moments.zero(x.shape[1]).update(x).statistics()


# ---------------------------------------------------------------- the reference


def test_all_figures_are_torch_fidelitys(golden):
    x, y = golden["generated"], golden["real"]
    found = kernel_distance(x, y, subsets=10, subset_size=50)
    # The reference multiplies in float32.
    np.testing.assert_allclose(found, golden["kernel"], rtol=2e-5)
    np.testing.assert_allclose(inception_score(4 * x, splits=5), golden["score"], rtol=1e-12)
    assert tuple(precision_recall(x, y)) == pytest.approx(tuple(golden["precision_recall"]))


@pytest.mark.parametrize("case", ["full", "rank", "few"])
def test_frechet_distances_are_torch_fidelitys(golden, case):
    """Full rank; features that depend on each other; fewer examples than features."""
    x, y = frechet_case(golden, case)
    found = frechet_distance(statistics(x), statistics(y))
    # The reference takes roots of eigenvalues that should be zero.
    assert found == pytest.approx(float(golden[f"frechet_{case}"]), rel=1e-6)


def frechet_case(golden, case):
    x, y = golden["generated"].astype(np.float64), golden["real"].astype(np.float64)
    mix = np.random.RandomState(0).standard_normal((x.shape[1], 2 * x.shape[1]))
    return {"full": (x, y), "rank": (x @ mix, y @ mix), "few": (x[:12], y[:9])}[case]


@pytest.mark.parity
def test_torch_fidelity_live():
    """The golden figures, of other sets."""
    for name in ("torch", "torchvision", "torch_fidelity"):
        pytest.importorskip(name, reason=f"the parity extra ({name}) is not installed")
    spec = importlib.util.spec_from_file_location("make", GOLDEN.parent / "make_metrics.py")
    make = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make)
    for i in range(5):
        x, y = make.features(2 * i, 150), make.features(2 * i + 1, 120)
        found = make.figures(x, y)
        kernel = kernel_distance(x, y, subsets=10, subset_size=50)
        np.testing.assert_allclose(kernel, found["kernel"], rtol=1e-4)
        np.testing.assert_allclose(inception_score(4 * x, splits=5), found["score"], rtol=1e-12)
        assert tuple(precision_recall(x, y)) == pytest.approx(tuple(found["precision_recall"]))
        ours = frechet_distance(statistics(x), statistics(y))
        assert ours == pytest.approx(found["frechet_full"], rel=1e-6)


# ---------------------------------------------------------------- closed forms


def test_kernel_distance_of_equal_distributions_is_zero_on_average():
    found = [
        kernel_distance(
            normal(60, seed=2 * i), normal(60, seed=2 * i + 1), subsets=1, subset_size=60
        )
        for i in range(200)
    ]
    means = np.array([f.mean for f in found])
    assert abs(means.mean()) < 3 * means.std() / 200**0.5 < 0.01
    assert (means < 0).any()  # unbiased: it cannot always be above


def test_kernel_distance_of_two_points_each():
    """By hand: k = (x y / 1 + 1)^3; [0, 1] against [1, 2]."""
    x, y = np.array([[0.0], [1.0]]), np.array([[1.0], [2.0]])
    expected = 1 + 27 - 2 * (1 + 1 + 8 + 27) / 4
    assert kernel_distance(x, y, subsets=1, subset_size=2).mean == pytest.approx(expected)


def test_inception_scores_of_extremes():
    sure = 50 * np.eye(8)[np.arange(80) % 8]
    assert inception_score(sure, splits=1).mean == pytest.approx(8)
    assert inception_score(np.zeros((80, 8))).mean == pytest.approx(1)
    assert inception_score(np.tile(sure[:1], (80, 1))).mean == pytest.approx(1)  # one class only


def test_precision_and_recall_tell_quality_from_variety():
    """Half of the modes, perfectly: precise, without recall; noise around all: the other way."""
    modes = 10 * np.eye(4).repeat(50, axis=0)
    real = modes + 0.1 * normal(200, 4, 0)
    half = (modes + 0.1 * normal(200, 4, 1))[:100]
    found = precision_recall(half, real)
    assert found.precision > 0.9 and 0.4 < found.recall <= 0.5
    wide = modes + 5 * normal(200, 4, 2)
    found = precision_recall(wide, real)
    assert found.precision < 0.1 and found.recall > 0.5
    half_covered = density_coverage(half, real)
    assert half_covered.coverage == pytest.approx(0.5, abs=0.05)
    assert density_coverage(wide, real).density < 0.1


def test_density_and_coverage_of_equal_distributions():
    """Density 1, coverage 1 - 2^-k (Naeem et al. 2020, equation 9)."""
    found = [
        density_coverage(normal(400, 3, 2 * i), normal(400, 3, 2 * i + 1), neighbours=3)
        for i in range(10)
    ]
    density, coverage = np.mean(found, axis=0)
    assert density == pytest.approx(1, abs=0.03)
    assert coverage == pytest.approx(1 - 2.0**-3, abs=0.02)


def test_one_outlier_does_not_make_density():
    """Naeem et al.'s example: what lies in an outlier's wide ball alone counts as precise."""
    real = np.concatenate([0.1 * normal(100, 8), np.full((1, 8), 3.0)])
    generated = 0.1 * normal(100, 8, 1, shift=8.0)
    assert precision_recall(generated, real, neighbours=5).precision == 1
    assert density_coverage(generated, real, neighbours=5) == pytest.approx((1 / 5, 1 / 101))


def test_mean_discrepancy_of_two_normal_distributions():
    """The mean of a Gaussian kernel: (w^2 / (w^2 + 2))^(D/2) exp(-d^2 / (2 w^2 + 4))."""
    x, y = normal(1500, 2, 0, shift=1.0), normal(1500, 2, 1)
    widths = (0.5, 2.0)

    def mean_kernel(squared):
        return np.mean([w**2 / (w**2 + 2) * np.exp(-squared / (2 * w**2 + 4)) for w in widths])

    expected = 2 * (mean_kernel(0.0) - mean_kernel(2.0))
    assert mean_discrepancy(x, y, widths=widths) == pytest.approx(expected, rel=0.1)
    scale = np.array([100.0, 0.01])
    np.testing.assert_allclose(
        mean_discrepancy(x[:50] * scale, y[:50] * scale), mean_discrepancy(x[:50], y[:50])
    )


def test_mean_discrepancy_is_unbiased():
    found = [mean_discrepancy(normal(40, 2, 2 * i), normal(40, 2, 2 * i + 1)) for i in range(200)]
    assert abs(np.mean(found)) < 3 * np.std(found) / 200**0.5


def test_accuracy():
    logits = np.eye(5)[[0, 1, 2, 3]]
    assert label_accuracy(logits, np.array([0, 1, 2, 4])) == 0.75


def test_nearest_neighbours_in_blocks(monkeypatch):
    monkeypatch.setattr("diffax.evaluation.neighbours._BLOCK", 7)
    x, y = normal(20, 5, 0, shift=1e3), normal(30, 5, 1, shift=1e3)
    distances, indices = nearest_neighbours(x, y, 3)
    exact = np.linalg.norm(x[:, None] - y[None], axis=2)
    np.testing.assert_array_equal(indices, np.argsort(exact, axis=1)[:, :3])
    np.testing.assert_allclose(distances, np.sort(exact, axis=1)[:, :3])
    assert nearest_neighbours(y[:5], y)[0].max() == 0  # exactly


# ---------------------------------------------------------------- what is refused

BAD = np.full((20, 4), np.nan)


@pytest.mark.parametrize(
    "call, message",
    [
        (
            lambda: kernel_distance(normal(20), normal(30)),
            "subsets of 2 to 20 examples .* 20 and 30",
        ),
        (
            lambda: kernel_distance(normal(20, 3), normal(20, 4)),
            r"same D, got \[20, 3\] and \[20, 4\]",
        ),
        (lambda: kernel_distance(BAD, BAD, subset_size=5), "expected finite vectors"),
        (lambda: inception_score(normal(5)), r"at least 10 images.*got \[5, 16\] and 10 splits"),
        (lambda: inception_score(BAD), "expected finite logits"),
        (lambda: precision_recall(normal(3), normal(9)), "more than 3 examples.* got 3"),
        (lambda: density_coverage(normal(9), normal(5)), "more than 5 examples.* got 5"),
        (lambda: precision_recall(BAD, BAD), "expected finite vectors"),
        (lambda: mean_discrepancy(normal(1), normal(9)), "got 1 and 9 vectors"),
        (lambda: mean_discrepancy(normal(9), normal(9), widths=(0.0,)), "widths > 0"),
        (lambda: nearest_neighbours(normal(9), normal(9), 10), "1 to 9 neighbours, got 10"),
        (lambda: label_accuracy(normal(4), np.array([0, 1])), r"logits \[N, K\] and labels \[N\]"),
        (lambda: label_accuracy(normal(2), np.array([0, 16])), "knows 16 classes, got label 16"),
        (lambda: label_accuracy(normal(2), np.array([0, -1])), "whole numbers >= 0"),
    ],
)
def test_what_is_refused(call, message):
    with pytest.raises(ValueError, match=message) as error:
        call()
    assert "\n" not in str(error.value)
