"""Toy sets of points."""

import numpy as np
import pytest
from sklearn.datasets import make_s_curve

from diffax.data import DataConfig, load, toy


def test_the_tutorial_s_curve_is_exact():
    # 10,000 points, noise 0.1, coordinates x and z, divided by 10: reference/numbers, "Tutorial".
    expected = make_s_curve(10_000, noise=0.1, random_state=0)[0][:, [0, 2]] / 10.0
    config = DataConfig("s_curve", points=10_000, noise=0.1, divisor=10.0, data_seed=0)
    np.testing.assert_array_equal(load(config).arrays()["x"], expected.astype(np.float32))


@pytest.mark.parametrize("name", toy.TOYS)
def test_points_are_standardised_the_same_way_for_every_draw(name):
    train, test = (load(DataConfig(name, split=split)) for split in ("train", "test"))
    for dataset in (train, test):
        x = dataset.arrays()["x"]
        assert x.shape == (10_000, 2) and x.dtype == np.float32 and np.isfinite(x).all()
        # deviation of a mean of 10,000: 0.01; of a deviation: below 0.01 for all these shapes
        np.testing.assert_allclose(x.mean(0), 0, atol=0.05)
        np.testing.assert_allclose(x.std(0), 1, atol=0.05)
    np.testing.assert_array_equal(train.source.mean, test.source.mean)
    assert not np.array_equal(train.arrays()["x"], test.arrays()["x"])


@pytest.mark.parametrize("name", toy.TOYS)
def test_draws_are_fixed_by_their_seed(name):
    points, labels = toy.draw(name, 50, seed=3)
    again, _ = toy.draw(name, 50, seed=3)
    other, _ = toy.draw(name, 50, seed=4)
    np.testing.assert_array_equal(points, again)
    assert not np.array_equal(points, other)
    classes = toy.TOYS[name].classes
    assert (labels is None) == (not classes)
    if classes:
        many = toy.draw(name, 2000, seed=3)[1]
        assert set(many.tolist()) == set(range(len(classes)))


def test_the_checkerboard_fills_every_second_square_evenly():
    points, _ = toy.draw("checkerboard", 8000, seed=0)
    column, row = np.floor(points + 2).astype(int).T
    assert ((column + row) % 2 == 0).all()
    counts = np.bincount(4 * row + column, minlength=16)
    counts = counts[counts > 0]
    assert len(counts) == 8
    assert ((counts - 1000) ** 2 / 1000).sum() < 29.9  # chi-square, 7 degrees, 99.99 %


def test_the_spiral_has_its_arms_opposite_each_other():
    points, arm = toy.draw("spiral", 4000, seed=0, noise=0.0)
    radius = np.linalg.norm(points, axis=1)
    angle = np.where(arm == 0, 0.0, np.pi) + radius  # Archimedean: the angle is the radius
    expected = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    np.testing.assert_allclose(points, expected, atol=1e-9)


def test_noise_is_the_deviation_asked_for():
    clean, noisy = (toy.draw("spiral", 5000, seed=0, noise=noise)[0] for noise in (0.0, 0.5))
    np.testing.assert_allclose((noisy - clean).std(0), 0.5, rtol=0.05)  # 5 deviations


def test_fresh_points_follow_the_same_distribution():
    fresh = load(DataConfig("blobs", points=0))
    batch = fresh.batch(0, seed=0, batch_size=8000)
    np.testing.assert_allclose(batch["x"].mean(0), 0, atol=0.06)
    assert np.bincount(batch["label"]).tolist() == [1000] * 8  # make_blobs deals evenly
    test = load(DataConfig("blobs", points=0, split="test")).batch(0, seed=0, batch_size=8000)
    assert not np.array_equal(batch["x"], test["x"])


def test_no_points_are_refused():
    with pytest.raises(ValueError, match="at least one point, got n = 0"):
        toy.draw("moons", 0, seed=0)
