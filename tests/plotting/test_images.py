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
    factor = (large.shape[1] - 8) // 24
    assert small.shape[1] == 3 * 8 + 4 * 2 and large.shape[1] == 3 * 8 * factor + 4 * 2
    assert 512 <= large.shape[1] < 512 + 24  # the next factor down is too small
    for i, image in enumerate(images):  # the gaps stay two pixels wide
        top, left = (2 + at * (8 * factor + 2) for at in divmod(i, 3))
        shown = large[top : top + 8 * factor, left : left + 8 * factor]
        np.testing.assert_array_equal(shown, image.repeat(factor, 0).repeat(factor, 1))


def test_a_single_image_is_itself():
    image = RNG.integers(0, 256, (1, 6, 6, 3), dtype=np.uint8)
    np.testing.assert_array_equal(plotting.image_grid(image, min_width=0), image[0])
    large = plotting.image_grid(image, min_width=12, captions=["said once"])
    np.testing.assert_array_equal(large[::2, ::2], image[0])


def test_captions_stand_below_their_images():
    images = np.full((3, 40, 60, 1), 90, np.uint8)
    page = plotting.image_grid(images, columns=3, min_width=0, captions=["cat", "", "x " * 90])
    plain = plotting.image_grid(images, columns=3, min_width=0)
    assert len(page) == len(plain) + 3 * 14  # as high as the longest, of three lines
    np.testing.assert_array_equal(page[:42], plain[:42])
    inked = [(page[42:, 2 + 62 * i : 62 + 62 * i] < 128) for i in range(3)]
    assert inked[0][:14].any() and not inked[0][14:].any() and not inked[1].any()
    assert all(inked[2][14 * line : 14 * line + 14].any() for line in range(3))
    np.testing.assert_array_equal(
        plotting.image_grid(images, columns=3, min_width=0, captions=["cat"] * 3), plain
    )
    with pytest.raises(ValueError, match="expected 3 captions, one an image, got 2"):
        plotting.image_grid(images, captions=["a", "b"])


def test_a_strip_has_a_row_for_each_image_and_time_goes_right():
    trajectory = (
        np.zeros((31, 2, 4, 4, 1), np.uint8)
        + np.arange(31, dtype=np.uint8)[:, None, None, None, None]
    )
    trajectory[:, 1] += 100
    image = plotting.strip(trajectory, count=4, min_width=0)
    assert image.shape == (2 * 6 + 2, 4 * 6 + 2, 1)
    assert image[3, 3::6, 0].tolist() == [0, 10, 20, 30]
    assert image[9, 3::6, 0].tolist() == [100, 110, 120, 130]
    few = plotting.strip(trajectory[:2], count=10, min_width=0)  # fewer moments than asked for
    assert few[3, 3::6, 0].tolist() == [0, 1]
    # With titles: those of the moments shown, each above its column.
    titles = [f"t = {i}" if i in (0, 30) else "" for i in range(31)]
    titled = plotting.strip(trajectory, count=4, min_width=0, titles=titles)
    heads = np.array_split(titled[:14, :, 0] < 128, 4, axis=1)
    assert [bool(head.any()) for head in heads] == [True, False, False, True]
    with pytest.raises(ValueError, match="expected 31 titles, one a moment, got 2"):
        plotting.strip(trajectory, titles=["a", "b"])


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
    np.testing.assert_array_equal(image[2:6, 2:6], levels)
    assert (image[2:6, 8:12] == 128).all()


def test_stages_stand_side_by_side_as_large_as_the_last():
    small = np.arange(2 * 2 * 3 * 1, dtype=np.uint8).reshape(2, 2, 3, 1)
    large = np.full((2, 4, 6, 1), 200, np.uint8)
    shown = plotting.side_by_side([small, large])
    assert shown.shape == (2, 4, 12, 1)
    np.testing.assert_array_equal(shown[:, 1::2, 1:6:2], small)
    np.testing.assert_array_equal(shown[:, :, 6:], large)
    with pytest.raises(ValueError, match=r"divide the last stage's 3, got \[2, 3\]"):
        plotting.side_by_side([small, large[:, :3]])
