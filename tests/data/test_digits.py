"""The digits and their split."""

import numpy as np
from sklearn.datasets import load_digits

from diffax.data import Digits


def test_the_splits_are_fixed_complete_and_balanced():
    every, train, test = (Digits(split=split).load().arrays() for split in ("all", "train", "test"))
    assert [len(part["x"]) for part in (every, train, test)] == [1797, 1442, 355]
    for digit in range(10):
        scans = every["x"][every["label"] == digit]
        np.testing.assert_array_equal(test["x"][test["label"] == digit], scans[4::5])
        kept = np.delete(scans, np.s_[4::5], axis=0)
        np.testing.assert_array_equal(train["x"][train["label"] == digit], kept)


def test_grey_levels_are_the_real_ones():
    arrays = Digits(split="all").load().arrays()
    real = load_digits()
    # Rounding to whole levels of 255 moves at most half a level.
    np.testing.assert_allclose(
        arrays["x"][..., 0] / 255 * 16, real.images, atol=0.5 * 16 / 255 + 1e-12
    )
    assert arrays["x"].max() == 255 and arrays["x"].min() == 0
    np.testing.assert_array_equal(arrays["label"], real.target)
