"""Arrays from files."""

import numpy as np
import pytest

from diffax.data import DataConfig, load

RNG = np.random.default_rng(0)
PICTURES = RNG.integers(0, 256, (5, 4, 6, 3), dtype=np.uint8)
LABELS = np.array([0, 2, 1, 0, 2])


def config(path, **fields):
    return DataConfig("array", dir=str(path), **fields)


def test_npy_is_read_through_a_memory_map(tmp_path):
    np.save(tmp_path / "a.npy", PICTURES)
    dataset = load(config(tmp_path / "a.npy"))
    assert dataset.shape == (4, 6, 3) and dataset.size == 5 and dataset.num_classes == 0
    np.testing.assert_array_equal(dataset.arrays()["x"], PICTURES)
    assert type(dataset.batch(0, seed=0, batch_size=2)["x"]) is np.ndarray
    np.save(tmp_path / "a_labels.npy", LABELS)
    np.testing.assert_array_equal(load(config(tmp_path / "a.npy")).arrays()["label"], LABELS)


@pytest.mark.parametrize("keys", [("images", "labels"), ("x", "y"), ("arr_0", "arr_1")])
def test_npz_under_the_usual_keys(tmp_path, keys):
    np.savez_compressed(tmp_path / "a.npz", **dict(zip(keys, (PICTURES, LABELS), strict=True)))
    dataset = load(config(tmp_path / "a.npz"))
    assert dataset.class_names == ("0", "1", "2")
    np.testing.assert_array_equal(dataset.arrays()["x"], PICTURES)
    np.testing.assert_array_equal(dataset.arrays()["label"], LABELS)


def test_grey_pictures_without_a_channel_axis(tmp_path):
    np.save(tmp_path / "a.npy", PICTURES[..., 0])
    dataset = load(config(tmp_path / "a.npy", flip=True))
    assert dataset.shape == (4, 6, 1)
    np.testing.assert_array_equal(dataset.arrays()["x"], PICTURES[..., :1])


def test_pictures_are_resized_where_asked(tmp_path):
    np.save(tmp_path / "a.npy", PICTURES)
    dataset = load(config(tmp_path / "a.npy", image_size=4, random_crop=0.2))
    assert dataset.shape == (4, 4, 3) and dataset.source.shape == (5, 5, 3)
    assert dataset.arrays()["x"].shape == (5, 4, 4, 3)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_points_are_standardised(tmp_path, dtype):
    points = RNG.normal([1, -2, 5], [1, 3, 0], (400, 3)).astype(dtype)
    np.save(tmp_path / "a.npy", points)
    dataset = load(config(tmp_path / "a.npy"))
    x = dataset.arrays()["x"]
    assert dataset.kind == "points" and x.dtype == np.float32
    np.testing.assert_allclose(x.mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(x.std(0), [1, 1, 0], atol=1e-6)  # a constant stays one
    np.testing.assert_allclose(dataset.coordinates(x), points, atol=1e-5)
    halved = load(config(tmp_path / "a.npy", divisor=2.0)).arrays()["x"]
    np.testing.assert_array_equal(halved, (points.astype(np.float64) / 2).astype(np.float32))
    with pytest.raises(ValueError, match="are for pictures"):
        load(config(tmp_path / "a.npy", flip=True))


@pytest.mark.parametrize(
    "array, message",
    [
        (PICTURES.astype(np.float32) / 255, r"got float32 \[5, 4, 6, 3\]; turn .* into uint8"),
        (PICTURES.astype(np.int64), r"expected uint8 pictures .* got int64 \[5, 4, 6, 3\]"),
        (PICTURES[0, 0], r"got uint8 \[6, 3\]"),
        (PICTURES[:0], r"got uint8 \[0, 4, 6, 3\]"),
        (np.array(3.0), r"got float64 \[\]"),
        (np.array([{}], dtype=object), "Python objects are refused"),
        (PICTURES.transpose(0, 3, 1, 2), r"looks like \[N, C, H, W\]; transpose"),
        (np.array([[0.0, 1], [0, np.nan]]), "expected finite points, row 1 is not"),
    ],
)
@pytest.mark.parametrize("ending", ["npy", "npz"])
def test_other_arrays_are_refused(tmp_path, array, message, ending):
    path = tmp_path / f"a.{ending}"
    np.save(path, array, allow_pickle=True) if ending == "npy" else np.savez(path, array)
    with pytest.raises(ValueError, match=message):
        load(config(path))


@pytest.mark.parametrize(
    "labels, message",
    [
        (LABELS[:4], r"labels \[5\], one an example, got int64 \[4\]"),
        (LABELS.astype(float), "expected integer labels"),
        (LABELS - 1, "labels from 0, got -1"),
    ],
)
def test_labels_that_do_not_fit_are_refused(tmp_path, labels, message):
    np.savez(tmp_path / "a.npz", PICTURES, labels)
    with pytest.raises(ValueError, match=message):
        load(config(tmp_path / "a.npz"))


def test_broken_or_missing_files_say_so(tmp_path):
    with pytest.raises(ValueError, match="needs data.dir"):
        load(DataConfig("array"))
    with pytest.raises(FileNotFoundError, match="there is no file"):
        load(config(tmp_path / "a.npy"))
    np.save(tmp_path / "a.npy", PICTURES)
    whole = (tmp_path / "a.npy").read_bytes()
    for broken in (b"", whole[:50], whole[:-7]):
        (tmp_path / "a.npy").write_bytes(broken)
        with pytest.raises(ValueError, match="a.npy cannot be read"):
            load(config(tmp_path / "a.npy"))
    (tmp_path / "a.npz").write_bytes(b"PK rubbish")
    with pytest.raises(ValueError, match="a.npz cannot be read"):
        load(config(tmp_path / "a.npz"))
    np.savez(tmp_path / "a.npz", weights=PICTURES)
    with pytest.raises(ValueError, match=r"holds \['weights'\]; expected examples under one of"):
        load(config(tmp_path / "a.npz"))
    (tmp_path / "a.txt").write_text("1 2 3")
    with pytest.raises(ValueError, match="expected a .npy or .npz file"):
        load(config(tmp_path / "a.txt"))
