"""The Frechet distance against closed forms and the reference; moments that merge."""

import numpy as np
import pytest
import scipy.linalg

from diffax.evaluation.frechet import few_samples, frechet_distance
from diffax.evaluation.statistics import Moments, Statistics


def normal(n, dims, seed, rank=None):
    rng = np.random.default_rng(seed)
    mix = rng.normal(size=(rank or dims, dims))
    return rng.normal(size=(n, len(mix))) @ mix + rng.normal(size=dims)


def statistics(x):
    return Moments.zero(x.shape[1]).update(x).statistics()


def test_commuting_covariances():
    """|m - m'|^2 + sum (sqrt a - sqrt b)^2, also where some of them are zero, in any basis."""
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    a, b = np.array([4.0, 1, 0, 9, 0, 1e-9]), np.array([1.0, 1, 0, 0, 16, 1e-9])
    one = Statistics(np.zeros(6), basis * a @ basis.T)
    other = Statistics(np.full(6, 0.5), basis * b @ basis.T)
    expected = 6 * 0.25 + ((np.sqrt(a) - np.sqrt(b)) ** 2).sum()
    # Of the eigenvalue 1e-9 a matrix of norm 16 keeps six digits.
    assert frechet_distance(one, other) == pytest.approx(expected, rel=1e-10)
    assert frechet_distance(one, one) == pytest.approx(0, abs=1e-12)


def test_covariances_that_do_not_commute():
    """Of two 2 x 2 covariances: tr (A B)^(1/2) = sqrt(tr AB + 2 sqrt(det AB))."""
    a, b = np.array([[2.0, 0.5], [0.5, 1.0]]), np.array([[1.0, -0.7], [-0.7, 3.0]])
    root_trace = np.sqrt(np.trace(a @ b) + 2 * np.sqrt(np.linalg.det(a @ b)))
    expected = np.trace(a) + np.trace(b) - 2 * root_trace
    found = frechet_distance(Statistics(np.zeros(2), a), Statistics(np.zeros(2), b))
    assert found == pytest.approx(expected, rel=1e-12)


def test_the_matrix_root_of_scipy():
    x, y = normal(200, 24, 0), normal(300, 24, 1)
    a, b = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    step = x.mean(axis=0) - y.mean(axis=0)
    expected = step @ step + np.trace(a + b - 2 * scipy.linalg.sqrtm(a @ b).real)
    assert frechet_distance(statistics(x), statistics(y)) == pytest.approx(expected, rel=1e-9)


def test_fewer_examples_than_features():
    """In a subspace it is the distance in the subspace: no NaN, and no constant on the diagonal."""
    x, y = normal(20, 5, 0), normal(30, 5, 1)
    embed = np.linalg.qr(np.random.default_rng(2).normal(size=(64, 5)))[0].T
    inside = frechet_distance(statistics(x), statistics(y))
    lifted = frechet_distance(statistics(x @ embed), statistics(y @ embed))
    assert lifted == pytest.approx(inside, rel=1e-10)


def test_order_and_rotation_do_not_count():
    x, y = normal(40, 8, 0), normal(50, 8, 1)
    forth = frechet_distance(statistics(x), statistics(y))
    assert frechet_distance(statistics(y), statistics(x)) == pytest.approx(forth, rel=1e-12)
    turn = np.linalg.qr(np.random.default_rng(2).normal(size=(8, 8)))[0]
    turned = frechet_distance(statistics(x @ turn), statistics(y @ turn))
    assert turned == pytest.approx(forth, rel=1e-10)


@pytest.mark.parametrize("n, m", [(200, 300), (20, 300), (20, 15)])
def test_moments_do_not_depend_on_how_they_are_gathered(n, m):
    x, y = normal(n, 32, 0) + 100, normal(m, 32, 1) + 100  # a mean far from zero
    whole = frechet_distance(statistics(x), statistics(y))
    np.testing.assert_allclose(statistics(x).covariance, np.cov(x, rowvar=False), rtol=1e-9)
    parts = [Moments.zero(32).update(part) for part in np.array_split(x, 7)]
    merged = Moments.zero(32)
    for part in parts:
        merged = merged.merge(part)
    assert frechet_distance(merged.statistics(), statistics(y)) == pytest.approx(whole, rel=1e-9)
    assert merged.merge(Moments.zero(32)).count == n


def test_what_is_refused():
    with pytest.raises(ValueError, match="at least 2 examples, got 1"):
        statistics(np.zeros((1, 3)))
    with pytest.raises(ValueError, match=r"expected features \[B, 3\], got shape \[2, 4\]"):
        Moments.zero(3).update(np.zeros((2, 4)))
    with pytest.raises(ValueError, match="expected moments of 3 features, got 4"):
        Moments.zero(3).merge(Moments.zero(4))
    with pytest.raises(ValueError, match="NaN or infinity among them"):
        Moments.zero(3).update(np.full((2, 3), np.inf))
    with pytest.raises(ValueError, match=r"mean \[D\] and a covariance \[D, D\]"):
        Statistics(np.zeros(3), np.eye(2))
    with pytest.raises(ValueError, match="finite mean and covariance"):
        Statistics(np.zeros(3), np.full((3, 3), np.nan))
    with pytest.raises(ValueError, match="got 2 and 3 features"):
        frechet_distance(Statistics(np.zeros(2), np.eye(2)), Statistics(np.zeros(3), np.eye(3)))
    one, other = (Statistics(np.zeros(2), np.eye(2), 9, n, f) for n, f in (("a", "1"), ("b", "2")))
    with pytest.raises(ValueError, match=r"got a \(1\) and b \(2\)"):
        frechet_distance(one, other)
    assert frechet_distance(one, Statistics(np.zeros(2), np.eye(2))) == 0  # it does not say


def test_few_samples_are_warned_of():
    assert few_samples(50_000) is None and few_samples(None) is None
    assert "FID of 1,000 samples" in few_samples(1000)
    assert "FID of 9 samples" in few_samples(9, "inception_pytorch")


@pytest.mark.parametrize("network", ["classifier", "resnet20", "inception_own", ""])
def test_only_the_fids_own_network_gives_a_fid(network):
    assert few_samples(1000, network).startswith("Frechet distance of 1,000 samples: biased")
    assert "FID" not in few_samples(1000, network) and few_samples(50_000, network) is None
