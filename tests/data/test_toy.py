"""Sets of vectors."""

import numpy as np
import pytest
from sklearn.datasets import make_s_curve

from diffax.data import Toy, toy


def test_the_s_curve_is_scikit_learns():
    # 10,000 vectors, noise 0.1, coordinates x and z: reference/numbers, "Tutorial".
    expected = make_s_curve(10_000, noise=0.1, random_state=0)[0][:, [0, 2]]
    x = Toy("s_curve", num=10_000, noise=0.1, seed=0).load().arrays()["x"]
    np.testing.assert_array_equal(x, expected.astype(np.float32))
    in_space = Toy("s_curve_3d", num=10_000, noise=0.1, seed=0).load().arrays()["x"]
    np.testing.assert_array_equal(in_space[:, [0, 2]], x)
    assert in_space.shape == (10_000, 3) and Toy("s_curve_3d").load().spec.shape == (3,)


@pytest.mark.parametrize("name", toy.TOYS)
def test_mean_and_std_are_those_of_every_draw(name):
    train, test = (Toy(name, split=split).load() for split in ("train", "test"))
    for dataset in (train, test):
        x = dataset.arrays()["x"]
        assert (
            x.shape == (10_000, 3 if name == "s_curve_3d" else 2)
            and x.dtype == np.float32
            and np.isfinite(x).all()
        )
        x = (x - np.array(dataset.spec.mean)) / np.array(dataset.spec.std)
        # std of a mean of 10,000: 0.01; of a std: below 0.01 for all these shapes
        np.testing.assert_allclose(x.mean(0), 0, atol=0.05)
        np.testing.assert_allclose(x.std(0), 1, atol=0.05)
    assert (train.spec.mean, train.spec.std) == (test.spec.mean, test.spec.std)
    assert not np.array_equal(train.arrays()["x"], test.arrays()["x"])


@pytest.mark.parametrize("name", toy.TOYS)
def test_draws_are_fixed_by_their_seed(name):
    vectors, labels = toy.draw(name, 50, seed=3)
    again, _ = toy.draw(name, 50, seed=3)
    other, _ = toy.draw(name, 50, seed=4)
    np.testing.assert_array_equal(vectors, again)
    assert not np.array_equal(vectors, other)
    classes = toy.TOYS[name].classes
    assert (labels is None) == (not classes)
    if classes:
        many = toy.draw(name, 2000, seed=3)[1]
        assert set(many.tolist()) == set(range(len(classes)))


def test_the_checkerboard_fills_every_second_square_evenly():
    vectors, _ = toy.draw("checkerboard", 8000, seed=0)
    column, row = np.floor(vectors + 2).astype(int).T
    assert ((column + row) % 2 == 0).all()
    counts = np.bincount(4 * row + column, minlength=16)
    counts = counts[counts > 0]
    assert len(counts) == 8
    assert ((counts - 1000) ** 2 / 1000).sum() < 29.9  # chi-square, 7 degrees, 99.99 %


def test_the_spiral_has_its_arms_opposite_each_other():
    vectors, arm = toy.draw("spiral", 4000, seed=0, noise=0.0)
    radius = np.linalg.norm(vectors, axis=1)
    angle = np.where(arm == 0, 0.0, np.pi) + radius  # Archimedean: the angle is the radius
    expected = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    np.testing.assert_allclose(vectors, expected, atol=1e-9)


def test_noise_is_the_std_asked_for():
    clean, noisy = (toy.draw("spiral", 5000, seed=0, noise=noise)[0] for noise in (0.0, 0.5))
    np.testing.assert_allclose((noisy - clean).std(0), 0.5, rtol=0.05)  # 5 std


def test_fresh_vectors_follow_the_same_distribution():
    fresh = Toy("blobs", num=0).load()
    batch = fresh.batch(0, seed=0, batch_size=8000)
    # blobs lie on a circle of radius 4 around the origin: spread 2.8, mean of 8,000: 0.03
    np.testing.assert_allclose(batch["x"].mean(0), fresh.spec.mean, atol=0.12)
    assert np.bincount(batch["label"]).tolist() == [1000] * 8  # make_blobs deals evenly
    test = Toy("blobs", num=0, split="test").load()
    assert not np.array_equal(batch["x"], test.batch(0, seed=0, batch_size=8000)["x"])
    test.batch(0, seed=2**64 - 1, batch_size=2)  # the largest seed there is


def test_no_vectors_are_refused():
    with pytest.raises(ValueError, match="at least one vector, got n = 0"):
        toy.draw("moons", 0, seed=0)
