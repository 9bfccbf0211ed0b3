"""Pairs of classes joined into one distribution, and an SVM that is sure where it may be."""

import numpy as np
import pytest

from diffax.evaluation.svm import SVM, joined


def test_comparisons_of_one_distribution_give_it_back():
    p = np.random.default_rng(0).dirichlet(np.ones(5), size=7)
    beats = p[:, :, None] / (p[:, :, None] + p[:, None])
    beats[:, np.arange(5), np.arange(5)] = 0
    np.testing.assert_allclose(joined(beats), p, atol=1e-10)


def test_contradicting_comparisons_are_balanced():
    """a beats b beats c beats a: nobody is ahead."""
    cycle = np.array([[0, 0.9, 0.1], [0.1, 0, 0.9], [0.9, 0.1, 0]])
    np.testing.assert_allclose(joined(cycle[None]), np.full((1, 3), 1 / 3), atol=1e-12)


def test_sure_within_the_classes_and_in_doubt_between_them():
    """Two classes, one normal each, so that the truth is known: a sigmoid of the first axis."""
    rng = np.random.default_rng(0)
    labels = np.arange(2).repeat(400)
    known = rng.normal(size=(800, 2)) + np.array([3.0, 0.0]) * (labels[:, None] - 0.5)
    at = np.linspace(-2, 2, 9)
    told = SVM(known, labels)(np.stack([at, np.zeros(9)], axis=1))
    np.testing.assert_allclose(told.sum(axis=1), 1, atol=1e-12)
    # Margins are no log-odds, and the classes overlap: a sigmoid of them comes near to the truth.
    assert told[:, 1] == pytest.approx(1 / (1 + np.exp(-3 * at)), abs=0.15)
