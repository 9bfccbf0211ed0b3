"""A folder of images, with all that may lie in it."""

import json
import os

import numpy as np
import pytest
from PIL import Image

from diffax.data import Column, ImageFolder, Loader, image_folder


def paint(path, colour, size=(8, 8), **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path, **options)


def load(folder, **fields):
    return ImageFolder(dir=str(folder), **fields).load()


@pytest.fixture
def animals(tmp_path):
    for i in range(3):
        paint(tmp_path / "cat" / f"{i}.png", (10 * i, 0, 0))
        paint(tmp_path / "dog" / "deep" / f"{i}.PNG", (0, 10 * i, 0))
    (tmp_path / "cat" / ".hidden.png").write_bytes(b"x")
    (tmp_path / "__MACOSX").mkdir()
    (tmp_path / "__MACOSX" / "x.png").write_bytes(b"x")
    (tmp_path / "notes.md").write_text("read me")
    return tmp_path


def test_first_level_sub_folders_are_the_classes(animals):
    dataset = load(animals)
    assert dataset.spec.size == 6 and dataset.spec.shape == (8, 8, 3)
    assert dataset.spec.class_names == ("cat", "dog")
    arrays = dataset.arrays()
    assert arrays["label"].tolist() == [0, 0, 0, 1, 1, 1]
    assert arrays["x"][:, 0, 0].tolist() == [[0, 0, 0], [10, 0, 0], [20, 0, 0]] + [
        [0, 0, 0],
        [0, 10, 0],
        [0, 20, 0],
    ]
    assert "1 other files ignored" in dataset.summary()
    assert "cat (3), dog (3)" in dataset.summary()


def test_images_outside_of_sub_folders_mean_no_classes(animals):
    paint(animals / "stray.png", "white")
    assert load(animals).spec.num_classes == 0
    assert load(animals / "cat").batch(0, seed=0, batch_size=2).keys() == {"x"}


@pytest.mark.parametrize("full_check", [True, False])
def test_memory_or_files_give_the_same_batches(animals, full_check, monkeypatch):
    if not full_check:
        monkeypatch.setattr(image_folder, "FULL_CHECK", 0)
    whole = load(animals, image_size=4, flip=True)
    lean = load(animals, image_size=4, flip=True, cache_mb=0)
    assert whole.source.cached >= 6 * 4 * 4 * 3 and lean.source.cached == 0
    for step in range(4):
        a = whole.batch(step, seed=0, batch_size=4)
        b = lean.batch(step, seed=0, batch_size=4)
        assert a.keys() == b.keys() == {"x", "label"}
        for key in a:
            np.testing.assert_array_equal(a[key], b[key])


def test_any_sizes_become_one(tmp_path):
    paint(tmp_path / "a.jpg", (200, 100, 50), size=(40, 30))
    paint(tmp_path / "b.webp", (200, 100, 50), size=(9, 31))
    Image.new("RGBA", (20, 20), (0, 0, 0, 0)).save(tmp_path / "c.png")
    Image.new("L", (5, 5), 77).save(tmp_path / "d.png")
    dataset = load(tmp_path, image_size=(12, 16), background=(1, 2, 3))
    x = dataset.arrays()["x"]
    assert x.shape == (4, 12, 16, 3) and dataset.spec.shape == (12, 16, 3)
    np.testing.assert_allclose(x[:2, 6, 8], [[200, 100, 50]] * 2, atol=4)  # lossy
    assert (x[2] == [1, 2, 3]).all() and (x[3] == 77).all()
    assert "height 5 to 31, width 5 to 40" in dataset.summary()
    grey = load(tmp_path, image_size=12, channels=1)
    assert grey.arrays()["x"].shape == (4, 12, 12, 1)
    with pytest.raises(ValueError, match="4 sizes .*set data.image_size, for instance 5"):
        load(tmp_path)


def test_corrupt_images_are_left_out_and_named(animals):
    (animals / "cat" / "1.png").write_bytes(b"\x89PNG\r\n\x1a\nrubbish")
    good = (animals / "dog" / "deep" / "2.PNG").read_bytes()
    (animals / "dog" / "deep" / "2.PNG").write_bytes(good[:-30])  # header whole, pixels not
    dataset = load(animals)
    assert dataset.spec.size == 4
    assert dataset.arrays()["label"].tolist() == [0, 0, 1, 1]
    assert dataset.arrays()["x"][:, 0, 0, :2].tolist() == [[0, 0], [20, 0], [0, 0], [0, 10]]
    report = dataset.summary()
    assert "left out: 2 unreadable" in report
    assert "cat/1.png: not an image of a known format" in report
    assert "dog/deep/2.PNG: image file is truncated" in report


def test_more_than_half_corrupt_is_refused(tmp_path):
    for i in range(5):
        paint(tmp_path / f"{i}.png", "red")
    for i in range(3):
        (tmp_path / f"{i}.png").write_bytes(b"")
    with pytest.raises(ValueError, match="3 of 5 images .* the first: 0.png: not an image"):
        load(tmp_path)


def test_one_that_breaks_later_is_replaced_by_the_next_and_named(animals, monkeypatch):
    monkeypatch.setattr(image_folder, "FULL_CHECK", 2)  # as in a very large folder
    dataset = load(animals, cache_mb=0)
    assert "only their headers were checked" in dataset.summary()
    (animals / "cat" / "2.png").write_bytes(b"")
    with pytest.warns(UserWarning, match="cat/2.png: not an image.* next one takes its place"):
        arrays = dataset.arrays()
    assert arrays["label"].tolist() == [0, 0, 1, 1, 1, 1]  # the label of what is shown
    np.testing.assert_array_equal(arrays["x"][2], arrays["x"][3])
    dataset.arrays()
    assert dataset.source.rejects == ["cat/2.png: not an image of a known format"]
    for path in animals.rglob("*.[pP][nN][gG]"):
        path.unlink()
    with pytest.warns(UserWarning), pytest.raises(OSError, match="6 images in a row"):
        dataset.batch(0, seed=0, batch_size=1)


@pytest.mark.filterwarnings("ignore:image left out")
def test_workers_agree_on_what_replaces_a_broken_one(animals, monkeypatch):
    monkeypatch.setattr(image_folder, "FULL_CHECK", 0)
    dataset = load(animals, cache_mb=0)
    (animals / "cat" / "0.png").write_bytes(b"")
    with Loader(dataset, seed=0, batch_size=3, stop=8, workers=4) as loader:
        got = [batch["x"] for batch in loader]
    np.testing.assert_array_equal(
        got, [dataset.batch(step, seed=0, batch_size=3)["x"] for step in range(8)]
    )


def test_crops_keep_more_pixels_in_memory(tmp_path):
    paint(tmp_path / "a.png", "red", size=(100, 100))
    dataset = load(tmp_path, image_size=16, random_crop=0.5)
    assert dataset.source.columns["x"].shape == (32, 32, 3) and dataset.spec.shape == (16, 16, 3)
    assert dataset.batch(0, seed=0, batch_size=2)["x"].shape == (2, 16, 16, 3)
    assert dataset.arrays()["x"].shape == (1, 16, 16, 3)


def test_captions_from_a_table(animals):
    rows = [{"file_name": f"{i}.png", "text": f"cat number {i}", "more": [1]} for i in range(3)]
    lines = "\n".join(json.dumps(row) for row in rows)
    (animals / "cat" / "metadata.jsonl").write_text(lines + "\n\n")
    top = {"file_name": "dog/deep/0.PNG", "text": "ein Hündchen"}
    (animals / "metadata.jsonl").write_text(json.dumps(top, ensure_ascii=False), encoding="utf-8")
    (animals / "dog" / "deep" / "1.txt").write_text(" a dog \n")
    dataset = load(animals, captions=True)
    texts = [*(row["text"] for row in rows), "ein Hündchen", "a dog", ""]
    arrays = dataset.arrays()
    assert arrays["caption"].tolist() == texts and arrays["caption"].dtype.kind == "U"
    assert dataset.spec.columns["caption"] == Column((), "str")
    assert "captions: 5, the first: cat number 0" in dataset.summary()
    assert "1 other files ignored" in dataset.summary()  # notes.md, not the texts just read
    assert "4 other files ignored" in load(animals).summary()
    assert "1 images without a caption get an empty one; the first: dog" in dataset.summary()
    # Every image keeps its text, in shuffled batches, stacks of batches and the loader.
    of = {x.tobytes(): text for x, text in zip(arrays["x"], texts, strict=True)}
    del of[arrays["x"][0].tobytes()]  # the first cat and the first dog are both black
    batch = dataset.batch(0, seed=0, batch_size=6)
    assert batch.keys() == dataset.spec.columns.keys()
    for x, text in zip(batch["x"], batch["caption"], strict=True):
        assert of.get(x.tobytes(), text) == text
    stack = dataset.batches(0, 3, seed=0, batch_size=2)
    assert stack["caption"].shape == (3, 2)
    assert sorted(stack["caption"].ravel().tolist()) == sorted(texts)
    with Loader(dataset, seed=0, batch_size=2, stop=3, stack=3, workers=2) as loader:
        (loaded,) = loader
    np.testing.assert_array_equal(loaded["caption"], stack["caption"])


@pytest.mark.filterwarnings("ignore:image left out")
def test_the_caption_of_what_takes_a_broken_ones_place(animals, monkeypatch):
    monkeypatch.setattr(image_folder, "FULL_CHECK", 0)
    for i in range(3):
        (animals / "cat" / f"{i}.txt").write_text(f"cat {i}")
    dataset = load(animals / "cat", captions=True, cache_mb=0)
    (animals / "cat" / "0.png").write_bytes(b"")
    arrays = dataset.arrays()
    assert arrays["caption"].tolist() == ["cat 1", "cat 1", "cat 2"]
    assert arrays["x"][:, 0, 0, 0].tolist() == [10, 10, 20]


def test_names_that_a_terminal_would_obey(tmp_path, monkeypatch):
    evil = "a\x1b[31mred\u202e"
    paint(tmp_path / evil / f"{evil}.png", "red")
    paint(tmp_path / "b" / "b.png", "red")
    paint(tmp_path / "b" / "c.png", "red")
    (tmp_path / evil / "broken\x1b[2J.png").write_bytes(b"")
    (tmp_path / evil / f"{evil}.txt").write_text("text\x1b[2J")
    report = load(tmp_path, captions=True).summary()
    assert r"a\x1b[31mred\u202e (1), b (2)" in report
    assert r"the first: text\x1b[2J" in report and r"broken\x1b[2J.png: not an" in report
    assert all(c.isprintable() or c == "\n" for c in report)
    monkeypatch.setattr(image_folder, "FULL_CHECK", 0)
    (tmp_path / evil / "broken\x1b[2J.png").unlink()
    dataset = load(tmp_path, cache_mb=0)
    (tmp_path / evil / f"{evil}.png").write_bytes(b"")
    with pytest.warns(UserWarning, match=r"left out: a\\x1b\[31mred\\u202e/") as caught:
        dataset.examples([0])
    assert str(caught[0].message).isprintable()


def test_captions_wanted_and_not_found(animals):
    with pytest.raises(ValueError, match="no image .* expected metadata.jsonl"):
        load(animals, captions=True)
    (animals / "metadata.jsonl").write_text('{"file_name": "a.png"}\n')
    with pytest.raises(ValueError, match=r"metadata.jsonl, line 1: expected .* got '{\"file"):
        load(animals, captions=True)
    (animals / "metadata.jsonl").write_text("[" * 100_000)
    with pytest.raises(ValueError, match=r"metadata.jsonl, line 1: expected .* got '\[\["):
        load(animals, captions=True)
    (animals / "metadata.jsonl").write_bytes(b"{\xff}")
    with pytest.raises(ValueError, match=r"metadata.jsonl: expected text in UTF-8, byte 1 is not"):
        load(animals, captions=True)


def test_folders_that_hold_nothing_say_so(tmp_path):
    with pytest.raises(ValueError, match="needs data.dir"):
        ImageFolder().load()
    with pytest.raises(FileNotFoundError, match="there is no folder .*nowhere"):
        load(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="no images in .* expected .png, .jpg"):
        load(tmp_path)
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(ValueError, match="expected a folder of images, .* is a file"):
        load(tmp_path / "a.png")
    with pytest.raises(ValueError, match="1 of 1 images"):
        load(tmp_path)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_folder_says_so(animals):
    (animals / "cat").chmod(0)
    with pytest.raises(ValueError, match="cannot read the folder .*cat: Permission denied"):
        load(animals)
    (animals / "cat").chmod(0o700)


def test_a_link_back_up_is_not_followed_for_ever(animals):
    (animals / "cat" / "loop").symlink_to(animals)
    assert load(animals).spec.size == 6


def test_emoji_with_captions():
    folder = os.environ.get("DIFFAX_TEST_DATA")
    if folder is None or not os.path.isdir(os.path.join(folder, "emoji")):
        pytest.skip("DIFFAX_TEST_DATA, the folder with the shared data, is not set")
    dataset = load(os.path.join(folder, "emoji"), captions=True, image_size=16)
    assert dataset.spec.size == 3530 and not dataset.source.rejects
    assert "other files ignored" not in dataset.summary()
    first = dataset.examples(np.arange(3))
    assert first["caption"].tolist() == ["hash sign", "keycap: #", "asterisk"]
    assert first["x"].shape == (3, 16, 16, 3)


def test_every_image_has_a_partner_by_its_name(animals, tmp_path_factory):
    controls = tmp_path_factory.mktemp("controls")
    for i in range(3):
        paint(controls / "cat" / f"{i}.jpg", (10 * i, 50, 0), size=(16, 8))
        paint(controls / "dog" / "deep" / f"{i}.png", (0, 50, 10 * i))
    dataset = load(animals, control=str(controls), image_size=8, flip=True)
    assert dataset.spec.columns["control"] == Column((8, 8, 3), "uint8")
    arrays = dataset.arrays()
    assert arrays["control"].shape == (6, 8, 8, 3) and arrays["control"].dtype == np.uint8
    assert np.abs(arrays["control"][:3, 0, 0, 0].astype(int) - [0, 10, 20]).max() < 4  # a JPEG
    assert arrays["control"][3:, 0, 0, 2].tolist() == [0, 10, 20]
    (controls / "cat" / "1.jpg").unlink()
    with pytest.raises(ValueError, match=r"1 of 6 images .* no partner .* first: cat/1\.png"):
        load(animals, control=str(controls))
    paint(controls / "cat" / "1.png", "white")
    paint(controls / "cat" / "1.bmp", "white")
    with pytest.raises(ValueError, match="several partners of cat/1"):
        load(animals, control=str(controls))
    with pytest.raises(FileNotFoundError, match="set data.control"):
        load(animals, control=str(controls / "none"))


def test_an_image_and_its_edges_are_cut_and_mirrored_together(tmp_path):
    pytest.importorskip("cv2", reason="the edges extra (OpenCV) is not installed")
    image = np.zeros((16, 16, 3), np.uint8)
    image[:, 10:] = 255  # one edge, right of the middle
    Image.fromarray(image).save(tmp_path / "0.png")
    dataset = load(tmp_path, control="canny", flip=True)
    batch = dataset.batch(0, seed=0, batch_size=16)
    places = {tuple(np.flatnonzero(row)) for row in batch["control"][:, 8, :, 0] == 255}
    light = {tuple(np.flatnonzero(row)) for row in batch["x"][:, 8, :, 0] == 255}
    assert len(places) == len(light) == 2
    for row, edge in zip(batch["x"], batch["control"], strict=True):
        (at,) = np.flatnonzero(edge[8, :, 0])
        assert abs(int(row[8, at - 1, 0]) - int(row[8, at + 1, 0])) == 255
    assert set(np.unique(batch["control"])) == {0, 255}
