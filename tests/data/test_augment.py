"""Mirroring and random crops."""

import numpy as np

from diffax.data import augment, order


def ramp(size=32):
    """A image whose two channels tell column and row."""
    column, row = np.meshgrid(np.arange(size), np.arange(size))
    return np.stack([column * 8, row * 8, 0 * row], axis=-1).astype(np.uint8)


def test_mirrors_half_of_the_images_and_nothing_else():
    images = np.random.default_rng(0).integers(0, 256, (4000, 2, 3, 1), dtype=np.uint8)
    kept = images.copy()
    chance = order.chance(0, 0, 4000)
    out = augment.apply(images, chance, size=(2, 3), flip=True, random_crop=0.0)
    np.testing.assert_array_equal(images, kept)
    mirrored = chance[:, 3] < 0.5
    np.testing.assert_array_equal(out[mirrored], images[mirrored][:, :, ::-1])
    np.testing.assert_array_equal(out[~mirrored], images[~mirrored])
    assert abs(mirrored.mean() - 0.5) < 5 * 0.5 / np.sqrt(4000)


def test_crops_have_the_side_and_place_that_chance_says():
    images = np.stack([ramp()] * 200)
    chance = order.chance(1, 0, 200)
    out = augment.apply(images, chance, size=(16, 16), flip=False, random_crop=0.5).astype(float)
    side = 1 - 0.5 * chance[:, 0]
    # On a linear ramp the middle of the crop reads its place, the slope its side; inner pixels
    # only, because the filter is cut at the border. Levels are rounded: 8 levels a pixel.
    pixels = (np.arange(4, 12) + 0.5) / 16
    left = chance[:, 2] * (1 - side) * 32
    top = chance[:, 1] * (1 - side) * 32
    columns = (left[:, None] + pixels * side[:, None] * 32 - 0.5) * 8
    rows = (top[:, None] + pixels * side[:, None] * 32 - 0.5) * 8
    np.testing.assert_allclose(out[:, 8, 4:12, 0], columns, atol=1.0)
    np.testing.assert_allclose(out[:, 4:12, 8, 1], rows, atol=1.0)
    assert side.min() < 0.52 and side.max() > 0.98


def test_no_crop_share_left_gives_the_whole_image():
    images = np.stack([ramp()] * 3)
    out = augment.apply(images, np.zeros((3, 4)), size=(32, 32), flip=False, random_crop=0.5)
    np.testing.assert_array_equal(out, images)
