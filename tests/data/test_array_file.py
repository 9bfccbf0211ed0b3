"""Arrays from files."""

import io
import zipfile

import numpy as np
import pytest

from diffax.data import ArrayFile, Column, Loader, array_file

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (5, 4, 6, 3), dtype=np.uint8)
LABELS = np.array([0, 2, 1, 0, 2])
TEXTS = np.array(["a cat", "", "ein Hündchen", "b", "c"])


def load(path, **fields):
    return ArrayFile(dir=str(path), **fields).load()


def test_npy_is_read_through_a_memory_map(tmp_path):
    np.save(tmp_path / "a.npy", IMAGES)
    dataset = load(tmp_path / "a.npy")
    assert dataset.spec.columns == {"x": Column((4, 6, 3), "uint8")} and dataset.spec.size == 5
    assert dataset.spec.mean is None and dataset.spec.is_image
    np.testing.assert_array_equal(dataset.arrays()["x"], IMAGES)
    assert type(dataset.batch(0, seed=0, batch_size=2)["x"]) is np.ndarray
    np.save(tmp_path / "a_labels.npy", LABELS)
    np.save(tmp_path / "a_captions.npy", TEXTS)
    arrays = load(tmp_path / "a.npy", captions=True).arrays()
    np.testing.assert_array_equal(arrays["label"], LABELS)
    np.testing.assert_array_equal(arrays["caption"], TEXTS)
    assert {type(value) for value in arrays.values()} == {np.ndarray}


@pytest.mark.parametrize("keys", [("images", "labels"), ("x", "y"), ("arr_0", "arr_1")])
def test_npz_under_the_usual_keys(tmp_path, keys):
    np.savez_compressed(tmp_path / "a.npz", **dict(zip(keys, (IMAGES, LABELS), strict=True)))
    dataset = load(tmp_path / "a.npz")
    assert dataset.spec.class_names == ("0", "1", "2")
    np.testing.assert_array_equal(dataset.arrays()["x"], IMAGES)
    np.testing.assert_array_equal(dataset.arrays()["label"], LABELS)
    without = load(tmp_path / "a.npz", labels=False)
    assert without.spec.class_names == () and without.arrays().keys() == {"x"}


def test_captions_of_an_npz(tmp_path):
    np.savez(tmp_path / "a.npz", x=IMAGES, captions=TEXTS)
    dataset = load(tmp_path / "a.npz", captions=True)
    assert dataset.spec.columns["caption"] == Column((), "str")
    assert "captions: 5, the first: a cat" in dataset.summary()
    np.testing.assert_array_equal(dataset.arrays()["caption"], TEXTS)
    assert "caption" not in load(tmp_path / "a.npz").arrays()
    of = {image.tobytes(): text for image, text in zip(IMAGES, TEXTS, strict=True)}
    with Loader(dataset, seed=0, batch_size=3, stop=4, stack=2, workers=2) as loader:
        for stack in loader:
            assert stack["caption"].shape == (2, 3) and stack["caption"].dtype.kind == "U"
            images = stack["x"].reshape(6, 4, 6, 3)
            assert [of[x.tobytes()] for x in images] == stack["caption"].ravel().tolist()


@pytest.mark.parametrize(
    "captions, message",
    [
        (None, r"data.captions is on, but .*a.npz has none: expected texts \[5\] under captions"),
        (TEXTS[:4], r"captions as texts \[5\], one an example, got <U12 \[4\]"),
        (LABELS, r"captions as texts \[5\], one an example, got int64"),
        (TEXTS.astype(object), r"np.array\(texts, dtype=str\)"),
    ],
)
def test_captions_that_do_not_fit_are_refused(tmp_path, captions, message):
    extra = {} if captions is None else {"captions": captions}
    np.savez(tmp_path / "a.npz", x=IMAGES, **extra)
    with pytest.raises(ValueError, match=message):
        load(tmp_path / "a.npz", captions=True)


def test_grey_images_without_a_channel_axis(tmp_path):
    np.save(tmp_path / "a.npy", IMAGES[..., 0].copy())
    dataset = load(tmp_path / "a.npy", flip=True)
    assert dataset.spec.shape == (4, 6, 1)
    np.testing.assert_array_equal(dataset.arrays()["x"], IMAGES[..., :1])


def test_images_are_resized_where_asked(tmp_path):
    np.save(tmp_path / "a.npy", IMAGES)
    dataset = load(tmp_path / "a.npy", image_size=4, random_crop=0.2)
    assert dataset.spec.shape == (4, 4, 3) and dataset.source.columns["x"].shape == (5, 5, 3)
    assert dataset.arrays()["x"].shape == (5, 4, 4, 3)


@pytest.mark.parametrize("shape", [(3,), (7, 3), (2, 5, 3), (2, 2, 2, 3)])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ">f4"])
def test_numbers_of_any_shape_keep_their_own_coordinates(tmp_path, shape, dtype, monkeypatch):
    monkeypatch.setattr(array_file, "_BLOCK", 1000)  # several blocks
    values = RNG.normal([1, -2, 5], [1, 3, 1], (400, *shape)).astype(dtype)
    values[..., 2] = 0.1  # constant: its mean is not exact, its std shall be 1
    np.save(tmp_path / "a.npy", values)
    dataset = load(tmp_path / "a.npy")
    x, spec = dataset.arrays()["x"], dataset.spec
    np.testing.assert_array_equal(x, values.astype(np.float32))
    assert spec.columns == {"x": Column(shape, "float32")} and not spec.is_image
    flat = values.astype(np.float64).reshape(-1, 3)
    # float64 sums of at most 3,200 x 400 numbers
    np.testing.assert_allclose(spec.mean, flat.mean(0), rtol=1e-12)
    np.testing.assert_allclose(spec.std, [*flat.std(0)[:2], 1.0], rtol=1e-12)
    assert spec.std[2] == 1.0
    assert ("vectors of 3" if len(shape) == 1 else "arrays of") in dataset.summary()


def test_the_spread_of_numbers_far_from_zero(tmp_path):
    # Sums of squares would lose all digits: (1e8)^2 has a resolution of 2 in float64.
    values = 1e8 + RNG.normal(size=(1000, 2))
    np.save(tmp_path / "a.npy", values)
    std = load(tmp_path / "a.npy").spec.std
    np.testing.assert_allclose(std, values.std(0), rtol=1e-6)


@pytest.mark.parametrize("field", [{"flip": True}, {"random_crop": 0.1}, {"image_size": 2}])
def test_latents_are_not_mirrored(tmp_path, field):
    np.save(tmp_path / "a.npy", RNG.normal(size=(3, 4, 4, 4)))
    with pytest.raises(ValueError, match=r"are for images .* these data are float32 \[4, 4, 4\]"):
        load(tmp_path / "a.npy", **field)


@pytest.mark.parametrize(
    "array, message",
    [
        (IMAGES.astype(np.int64), r"expected uint8 images .* got int64 \[5, 4, 6, 3\]"),
        (IMAGES[0, 0], r"got uint8 \[6, 3\]"),
        (IMAGES[:0], r"got uint8 \[0, 4, 6, 3\]"),
        (np.array(3.0), r"got float64 \[\]"),
        (np.zeros(5), r"numbers \[N, ...\], got float64 \[5\]"),
        (np.array([{}], dtype=object), "Python objects are refused"),
        (np.zeros(3, [("a", "f4")]), r"got \[\('a', '<f4'\)\] \[3\]"),
        (IMAGES.transpose(0, 3, 1, 2).copy(), r"looks like \[N, C, H, W\]; .*transpose"),
        (np.array([[0.0, 1], [0, np.nan]]), "expected finite numbers .*, row 1 has others"),
        (np.array([[0.0, 1], [0, 1e39]]), "expected finite numbers .*, row 1 has others"),
        (np.asfortranarray(RNG.normal(size=(4, 3))), r"Fortran order\); save np.ascontiguous"),
    ],
)
@pytest.mark.parametrize("ending", ["npy", "npz"])
def test_other_arrays_are_refused(tmp_path, array, message, ending):
    path = tmp_path / f"a.{ending}"
    np.save(path, array, allow_pickle=True) if ending == "npy" else np.savez(path, array)
    with pytest.raises(ValueError, match=f"^[^\n]*{message}[^\n]*$"):
        load(path)


@pytest.mark.parametrize(
    "labels, message",
    [
        (LABELS[:4], r"labels \[5\], one an example, got int64 \[4\]"),
        (LABELS.astype(float), "expected integer labels"),
        (LABELS - 1, "labels from 0 to 99,999, got -1 to 1"),
        (LABELS + 99_998, "got 99998 to 100000"),
        (LABELS + 2**31, "got 2147483648 to 2147483650"),  # would wrap to negative ones
        (LABELS.astype(np.uint64) + 2**63, "got 9223372036854775808 to"),
    ],
)
def test_labels_that_do_not_fit_are_refused(tmp_path, labels, message):
    np.savez(tmp_path / "a.npz", IMAGES, labels)
    with pytest.raises(ValueError, match=message):
        load(tmp_path / "a.npz")
    load(tmp_path / "a.npz", labels=False)  # nobody asked for them


def test_as_many_classes_as_are_allowed(tmp_path):
    np.savez(tmp_path / "a.npz", IMAGES, LABELS + 99_997)
    assert load(tmp_path / "a.npz").spec.num_classes == 100_000


def header(text, version=1):
    """A file whose header says what it likes, and 100 bytes."""
    size = len(text).to_bytes(2 if version == 1 else 4, "little")
    return b"\x93NUMPY" + bytes([version, 0]) + size + text.encode("latin1") + bytes(100)


def described(shape, dtype="'<f4'", fortran="False"):
    return header(f"{{'descr': {dtype}, 'fortran_order': {fortran}, 'shape': {shape}, }}\n")


HOSTILE = {
    "more than the file holds": described("(26, 1)"),
    "huge": described("(1000000000000, 1000)"),
    "beyond 64 bits": described("(2, 9223372036854775807, 9223372036854775807)"),
    "wraps to a small product": described("(4294967296, 4294967296)"),
    "negative": described("(-1, 1)"),
    "no tuple": described("'abc'"),
    "texts as sides": described("('2', 2)"),
    "objects": described("(2, 2)", "'|O'"),
    "objects in a record": described("(2, 2)", "[('a', '|O')]"),
    "unknown type": described("(2, 2)", "'<q9'"),
    "no order": described("(2, 2)", fortran="'maybe'"),
    "Fortran order": described("(5, 5)", fortran="True"),
    "no header": header("{}"),
    "no Python": header("{{{{"),
    "brackets without end": header("(" * 9_000),
    "an open text": header("{'descr': '''"),
    "very long": header(" " * 60_000),
    "longer than the file": b"\x93NUMPY\x02\x00\xff\xff\xff\xff{",
    "another version": b"\x93NUMPY\x09\x00" + bytes(200),
    "nothing": b"",
    "another format": b"\x89PNG\r\n\x1a\n" + bytes(200),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_headers_are_one_line_and_take_no_memory(tmp_path, name):
    (tmp_path / "a.npy").write_bytes(HOSTILE[name])
    with zipfile.ZipFile(tmp_path / "b.npz", "w") as archive:
        archive.writestr("x.npy", HOSTILE[name])
    np.save(tmp_path / "c.npy", IMAGES)
    (tmp_path / "c_labels.npy").write_bytes(HOSTILE[name])
    for file, broken in (("a.npy", "a.npy"), ("b.npz", "b.npz"), ("c.npy", "c_labels.npy")):
        with pytest.raises(ValueError, match=f"^[^\n]*{broken} cannot be read: [^\n]+$") as raised:
            load(tmp_path / file)
        assert len(str(raised.value)) < 500


def test_hostile_archives_are_one_line(tmp_path):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, x=IMAGES)
    whole = path.read_bytes()
    start = whole.index(b"x.npy") + 25  # within the packed bytes
    for broken in (whole[:-30], whole[:start] + b"\xff" * 20 + whole[start + 20 :], b"PK"):
        path.write_bytes(broken)
        with pytest.raises(ValueError, match="a.npz cannot be read: [^\n]+$"):
            load(path)
    # An entry whose directory promises bytes that are not there.
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("x.npy", described("(10000, 1)"))
    lie = buffer.getvalue()
    size = len(described("(10000, 1)"))
    path.write_bytes(lie.replace(size.to_bytes(4, "little"), (10**6).to_bytes(4, "little")))
    with pytest.raises(ValueError, match="a.npz cannot be read: [^\n]+$"):
        load(path)


def test_broken_or_missing_files_say_so(tmp_path):
    with pytest.raises(ValueError, match="needs data.dir"):
        ArrayFile().load()
    with pytest.raises(FileNotFoundError, match="there is no file"):
        load(tmp_path / "a.npy")
    np.save(tmp_path / "a.npy", IMAGES)
    whole = (tmp_path / "a.npy").read_bytes()
    for broken in (b"", whole[:50], whole[:-7]):
        (tmp_path / "a.npy").write_bytes(broken)
        with pytest.raises(ValueError, match="a.npy cannot be read"):
            load(tmp_path / "a.npy")
    (tmp_path / "a.npz").write_bytes(b"PK rubbish")
    with pytest.raises(ValueError, match="a.npz cannot be read"):
        load(tmp_path / "a.npz")
    np.savez(tmp_path / "a.npz", weights=IMAGES)
    with pytest.raises(ValueError, match=r"holds \['weights'\]; expected examples under one of"):
        load(tmp_path / "a.npz")
    (tmp_path / "a.txt").write_text("1 2 3")
    with pytest.raises(ValueError, match="expected a .npy or .npz file"):
        load(tmp_path / "a.txt")
