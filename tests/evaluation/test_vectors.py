"""The sliced Wasserstein distance against closed forms."""

import numpy as np
import pytest

from diffax.evaluation import sliced_wasserstein


def normal(n, seed):
    return np.random.default_rng(seed).normal(size=(n, 2))


def test_a_shift_costs_its_mean_projection():
    """Of a shift d along one axis a random direction in the plane sees d^2 / 2 on average."""
    vectors = normal(2000, 0)
    shifted = vectors + 0.3 * vectors.std(axis=0) * [1, 0]
    distance = sliced_wasserstein(shifted, vectors, directions=4096)
    np.testing.assert_allclose(distance, 0.3 / 2**0.5, rtol=0.03)


def test_it_is_symmetric_in_order_and_blind_to_the_datas_units():
    a, b = normal(500, 0), normal(500, 1)
    shuffled = a[np.random.default_rng(2).permutation(500)]
    np.testing.assert_allclose(sliced_wasserstein(a, b), sliced_wasserstein(shuffled, b))
    scale = np.array([10.0, 0.01])
    np.testing.assert_allclose(sliced_wasserstein(a * scale, b * scale), sliced_wasserstein(a, b))


def test_a_constant_coordinate_is_taken_as_it_is():
    """One direction in the plane sees d^2 cos^2, on average d^2 / 2."""
    real = normal(500, 0) * [1, 0] + [0, 0.1]
    assert sliced_wasserstein(real, real) == 0
    distance = sliced_wasserstein(real + [0, 0.3], real, directions=4096)
    np.testing.assert_allclose(distance, 0.3 / 2**0.5, rtol=0.03)


@pytest.mark.parametrize("bad", [np.zeros((3, 2)), np.full((4, 2), np.nan)])
def test_unequal_or_broken_sets_are_refused(bad):
    with pytest.raises(ValueError, match="expected"):
        sliced_wasserstein(bad, normal(4, 0))
