"""Statistics in files, kept ones, and what they are taken for."""

import jax
import numpy as np
import pytest

from diffax.evaluation import (
    Statistics,
    data_fingerprint,
    feature_network,
    is_statistics,
    read_statistics,
    reference_statistics,
    write_statistics,
)
from diffax.evaluation.statistics import Moments
from diffax.models import CIFARResNet


@pytest.fixture(scope="module")
def network():
    module = CIFARResNet(blocks=1)
    params = jax.jit(module.init)(jax.random.key(0), np.zeros((1, 8, 8, 3), np.uint8))
    return feature_network("tiny", module, params, batch_size=8)


IMAGES = np.random.default_rng(0).integers(0, 256, (12, 8, 8, 3)).astype(np.uint8)


def test_what_is_written_is_read(tmp_path):
    path = tmp_path / "new" / "statistics.npz"
    written = Statistics(np.arange(3.0), np.diag([1.0, 2, 3]), 7, "tiny", "abc")
    write_statistics(path, written)
    read = read_statistics(path)
    np.testing.assert_array_equal(read.mean, written.mean)
    np.testing.assert_array_equal(read.covariance, written.covariance)
    assert (read.count, read.network, read.fingerprint) == (7, "tiny", "abc")
    assert is_statistics(path)
    with np.load(path) as theirs:  # as pytorch-fid reads it
        np.testing.assert_array_equal(theirs["mu"][:], written.mean)


def test_files_of_others(tmp_path):
    """pytorch-fid's have mu and sigma; OpenAI's spatial ones beside them, and samples as arr_0."""
    path = tmp_path / "theirs.npz"
    np.savez(path, mu=np.zeros(2), sigma=np.eye(2), mu_s=np.zeros(5), sigma_s=np.eye(5))
    read = read_statistics(path)
    assert read.mean.shape == (2,) and read.count is None and read.fingerprint == ""
    np.savez(path, IMAGES)
    assert not is_statistics(path)
    with pytest.raises(ValueError, match="holds arr_0; expected statistics, mu and sigma"):
        read_statistics(path)
    with pytest.raises(FileNotFoundError, match="no file .* with statistics"):
        read_statistics(tmp_path / "nowhere.npz")
    np.savez(path, mu=np.zeros(3), sigma=np.eye(2))
    with pytest.raises(ValueError, match=r"theirs.npz: expected a mean \[D\]"):
        read_statistics(path)
    np.savez(path, mu=np.array([{}]), sigma=np.eye(1))
    with pytest.raises(ValueError, match="Python objects are refused"):
        read_statistics(path)


def test_a_set_is_looked_at_once(network, tmp_path, monkeypatch):
    looked = []
    call = type(network).__call__
    monkeypatch.setattr(
        type(network), "__call__", lambda self, x: looked.append(len(x)) or call(self, x)
    )
    first = reference_statistics(network, lambda: [IMAGES[:5], IMAGES[5:]], tmp_path)
    again = reference_statistics(network, lambda: [IMAGES], tmp_path)
    assert looked == [5, 7] and first.count == again.count == 12
    np.testing.assert_array_equal(first.covariance, again.covariance)
    changed = IMAGES.copy()
    changed[3, 0, 0, 0] ^= 1
    reference_statistics(network, lambda: [changed], tmp_path)
    other = feature_network(
        "other", network.network.module.clone(mean=(0.5,) * 3), network.network.params
    )
    reference_statistics(other, lambda: [IMAGES], tmp_path)
    assert looked == [5, 7, 12, 12] and len(list(tmp_path.iterdir())) == 3
    reference_statistics(network, lambda: [IMAGES])
    assert looked[4:] == [12]  # nothing is kept without a folder


def test_a_broken_file_is_made_anew(network, tmp_path):
    first = reference_statistics(network, lambda: [IMAGES], tmp_path)
    (kept,) = tmp_path.iterdir()
    kept.write_bytes(kept.read_bytes()[:100])
    again = reference_statistics(network, lambda: [IMAGES], tmp_path)
    np.testing.assert_array_equal(first.mean, again.mean)
    assert read_statistics(kept).count == 12


def test_how_a_set_is_cut_does_not_count():
    whole = data_fingerprint([IMAGES])
    assert data_fingerprint([IMAGES[:1], IMAGES[1:]]) == whole
    others = [IMAGES[::-1], IMAGES[:11], IMAGES.reshape(12, 8, 24, 1), IMAGES.view(np.int8)]
    assert len({whole, *(data_fingerprint([other]) for other in others)}) == 5


def test_moments_of_several_processes(monkeypatch):
    """Each process's part, as bytes, for no digit may be lost."""
    x = np.random.default_rng(0).normal(size=(10, 3)) + 1e6
    parts = [Moments.zero(3).update(x[:4]), Moments.zero(3).update(x[4:])]

    def gather(packed):
        assert packed.dtype == np.uint8
        rows = [np.concatenate([[m.count], m.mean, m.scatter.ravel()]) for m in parts]
        return np.stack([row.view(np.uint8) for row in rows])

    monkeypatch.setattr("jax.process_count", lambda: 2)
    monkeypatch.setattr("diffax.evaluation.statistics.multihost_utils.process_allgather", gather)
    together, whole = parts[0].over_processes(), Moments.zero(3).update(x)
    assert together.count == 10
    np.testing.assert_allclose(together.mean, whole.mean, rtol=1e-15)
    np.testing.assert_allclose(together.scatter, whole.scatter, rtol=1e-9)
