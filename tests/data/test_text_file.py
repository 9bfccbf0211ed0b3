"""Windows of a text: places by (seed, step), the alphabet, splits, and what is no text."""

import numpy as np
import pytest

from diffax.data import Spec, TextFile
from diffax.data.text_file import reference_text


@pytest.fixture
def book(tmp_path):
    path = tmp_path / "book.txt"
    path.write_text("".join(f"{i:04d} é\n" for i in range(200)), encoding="utf-8")
    return str(path)


def text(dataset, rows):
    return ["".join(dataset.spec.alphabet[i] for i in row) for row in rows]


def test_batches_are_windows_of_the_text(book):
    dataset = TextFile(file=book, length=21).load()
    whole = open(book, encoding="utf-8").read()
    batch = dataset.batch(5, seed=3, batch_size=8)["x"]
    assert batch.dtype == np.int32 and batch.shape == (8, 21)
    assert all(window in whole[: 9 * len(whole) // 10] for window in text(dataset, batch))
    np.testing.assert_array_equal(batch, dataset.batch(5, seed=3, batch_size=8)["x"])
    assert not np.array_equal(batch, dataset.batch(6, seed=3, batch_size=8)["x"])
    half = dataset.batch(5, seed=3, batch_size=8, process_index=1, process_count=2)["x"]
    np.testing.assert_array_equal(batch[4:], half)


def test_the_held_out_part_is_the_end_window_by_window(book):
    whole = open(book, encoding="utf-8").read()
    parts = {
        split: "".join(text(data, data.arrays()["x"]))
        for split in ("train", "test", "all")
        for data in [TextFile(file=book, length=1, split=split).load()]
    }
    assert parts["train"] + parts["test"] == parts["all"] == whole
    assert len(parts["test"]) == len(whole) // 10
    alphabets = {TextFile(file=book, split=s, length=9).load().spec.alphabet for s in parts}
    assert len(alphabets) == 1


def test_the_alphabet_is_kept_with_the_spec(book):
    spec = TextFile(file=book).load().spec
    assert spec.alphabet == "\n 0123456789é" and Spec.from_json(spec.to_json()) == spec
    older = {name: value for name, value in spec.to_json().items() if name != "alphabet"}
    assert Spec.from_json(older).alphabet == ""


def test_the_text_in_the_box_has_every_paragraph_once():
    text = reference_text()
    assert 200_000 < len(text) < 10**6
    paragraphs = [part for part in text.split("\n\n") if len(part) > 100]
    assert len(paragraphs) > 500
    # A topic's last paragraph has a line end more, and may stand elsewhere without it.
    assert len(paragraphs) - len(set(paragraphs)) < 20


def test_what_is_no_text_is_refused_in_one_line(tmp_path, book):
    with pytest.raises(FileNotFoundError, match=r"there is no file .*; set data.file"):
        TextFile(file=str(tmp_path / "none.txt")).load()
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9 " * 100)
    with pytest.raises(ValueError, match=r"no text in UTF-8: byte 0xe9 at 3; convert it"):
        TextFile(file=str(tmp_path / "latin.txt")).load()
    with pytest.raises(ValueError, match=r"data.length is 200, and the test split has 140"):
        TextFile(file=book, length=200, split="test").load()
    for bad in ({"length": 0}, {"held_out": 1.0}, {"split": "dev"}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            TextFile(**bad)
