"""Grids and strips, to the pixel."""

import numpy as np
import pytest

from diffax import plotting

RNG = np.random.default_rng(0)


def test_a_grid_shows_every_image_in_its_place():
    images = RNG.integers(0, 256, (5, 4, 6, 3), dtype=np.uint8)
    grid = plotting.image_grid(images, columns=2, padding=1, background=7, min_width=0)
    assert grid.shape == (3 * 5 + 1, 2 * 7 + 1, 3)
    for i, image in enumerate(images):
        top, left = 1 + i // 2 * 5, 1 + i % 2 * 7
        np.testing.assert_array_equal(grid[top : top + 4, left : left + 6], image)
    assert (grid[0] == 7).all() and (grid[11:, 8:] == 7).all()  # the gaps and the empty place


def test_small_images_are_enlarged_sharply():
    images = RNG.integers(0, 256, (9, 8, 8, 1), dtype=np.uint8)
    small = plotting.image_grid(images, min_width=0)
    large = plotting.image_grid(images)
    factor = large.shape[1] // small.shape[1]
    assert 512 <= large.shape[1] < 512 + small.shape[1]
    np.testing.assert_array_equal(large[::factor, ::factor], small)
    np.testing.assert_array_equal(large[factor - 1 :: factor, factor - 1 :: factor], small)


def test_a_strip_has_a_row_for_each_image_and_time_goes_right():
    trajectory = (
        np.zeros((31, 2, 4, 4, 1), np.uint8)
        + np.arange(31, dtype=np.uint8)[:, None, None, None, None]
    )
    trajectory[:, 1] += 100
    image = plotting.strip(trajectory, count=4, min_width=0)
    assert image.shape == (2 * 5 + 1, 4 * 5 + 1, 1)
    assert image[2, 2::5, 0].tolist() == [0, 10, 20, 30]
    assert image[7, 2::5, 0].tolist() == [100, 110, 120, 130]
    few = plotting.strip(trajectory[:2], count=10, min_width=0)  # fewer moments than asked for
    assert few[2, 2::5, 0].tolist() == [0, 1]


@pytest.mark.parametrize(
    "images", [np.zeros((4, 4, 3)), np.zeros((2, 4, 4, 4)), np.zeros((0, 4, 4, 3))]
)
def test_shapes_that_are_no_images_are_refused(images):
    with pytest.raises(ValueError, match=r"\[N, H, W, C\] with C = 1 or 3, got shape"):
        plotting.image_grid(images)
    with pytest.raises(ValueError, match="trajectory"):
        plotting.strip(images)


@pytest.mark.parametrize("total, most", [(1, 2), (2, 2), (7, 60), (61, 60), (1001, 20)])
def test_moments_shown_are_even_and_hold_both_ends(total, most):
    chosen = plotting.evenly_spaced(total, most)
    assert len(chosen) == min(total, most) and chosen[0] == 0 and chosen[-1] == total - 1
    gaps = np.diff(chosen)
    assert len(gaps) == 0 or (gaps.min() >= 1 and gaps.max() - gaps.min() <= 1)


def test_pure_noise_is_the_first_of_a_strip():
    noise = RNG.normal(size=(1, 2, 4, 4, 1))  # beyond [-1, 1]: clipped
    trajectory = np.concatenate([noise, np.zeros((10, 2, 4, 4, 1))])
    image = plotting.strip(trajectory, count=3, min_width=0)
    levels = np.rint((np.clip(noise[0, 0], -1, 1) + 1) * 127.5)
    np.testing.assert_array_equal(image[1:5, 1:5], levels)
    assert (image[1:5, 6:10] == 128).all()
