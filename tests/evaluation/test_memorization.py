"""Copies are found, and real examples are not taken for copies."""

import numpy as np
import pytest

from diffax.data import Digits
from diffax.evaluation import memorization, nearest_pairs


@pytest.fixture(scope="module")
def real():
    return {s: Digits(split=s).load().arrays()["x"] for s in ("train", "test")}


def test_copies_are_found_with_their_originals(real):
    chosen = np.array([5, 17, 400])
    fresh = real["test"][:9]
    found = memorization(np.concatenate([fresh, real["train"][chosen]]), real["train"])
    np.testing.assert_array_equal(found.indices[9:], chosen)
    np.testing.assert_array_equal(found.distances[9:], 0)
    assert set(found.closest(3)) == {9, 10, 11} and found.distances[:9].min() > 0
    assert set(found.figures) == {"nearest_median", "nearest_smallest"}


def test_figures_of_real_examples_and_of_copies(real):
    half = len(real["test"]) // 2
    fresh = memorization(real["test"][:half], real["train"], real["test"][half:]).figures
    assert fresh["novelty"] == pytest.approx(1, abs=0.1) and fresh["copied"] < 0.05
    copies = memorization(real["train"][:50], real["train"], real["test"]).figures
    assert copies["novelty"] == 0 and copies["copied"] == 1


def test_pairs_are_drawn_nearest_first(real):
    generated = np.concatenate([real["test"][:5], real["train"][:1]])
    found = memorization(generated, real["train"])
    page = nearest_pairs(generated, real["train"], found, count=3)
    gap, scale = 2, (page.shape[1] - 4 * 2) // 24  # two rows of three images of 8 pixels
    assert page.shape == (2 * 8 * scale + 3 * gap, 3 * 8 * scale + 4 * gap, 1)

    def shown(row, column):
        top, left = (gap + place * (8 * scale + gap) for place in (row, column))
        return page[top : top + 8 * scale : scale, left : left + 8 * scale : scale]

    np.testing.assert_array_equal(shown(0, 0), real["train"][0])  # the copy first
    np.testing.assert_array_equal(shown(1, 0), real["train"][0])
    second = found.closest(2)[1]
    np.testing.assert_array_equal(shown(0, 1), generated[second])
    np.testing.assert_array_equal(shown(1, 1), real["train"][found.indices[second]])


def test_vectors_too_and_what_is_refused():
    x = np.random.default_rng(0).normal(size=(30, 2))
    assert memorization(x[:5], x[5:]).distances.shape == (5,)
    with pytest.raises(ValueError, match="same D"):
        memorization(x, np.zeros((4, 3)))
    with pytest.raises(ValueError, match="NaN"):
        memorization(np.full((2, 2), np.nan), x)
