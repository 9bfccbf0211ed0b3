"""Whatever stands in a JSON file: the right types, or one line."""

import json
import os

import pytest

from diffax.training.keeping.reading import MAX_DEPTH, matches, read_object


def written(tmp_path, data):
    path = tmp_path / "file.json"
    path.write_bytes(data if isinstance(data, bytes) else json.dumps(data).encode())
    return path


@pytest.mark.parametrize(
    "data, words",
    [
        ([1], r"expected an object {...}, got \[1\]"),
        (None, "expected an object {...}, got null"),
        ({"step": "3"}, "'step' should be a whole number of at most 64 bits, got \"3\""),
        ({"step": 3.0}, "'step' should be a whole number"),
        ({"step": True}, "'step' should be a whole number .* got true"),
        ({"step": 2**63}, "'step' should be a whole number of at most 64 bits"),
        ({}, "'step' is missing"),
        ({"step": 3, "rates": {"a": "b"}}, "'rates' should be an object, each a number"),
        ({"step": 3, "rates": [1.0]}, "'rates' should be an object"),
        ({"step": 3, "names": ["a", None]}, r"should be a list, each text, got \["),
        (b'{"step": 3', "not JSON"),
        (b"", "not JSON"),
        (b'{"step": "\xff"}', "not UTF-8 at byte 10"),
        (b"[" * 100_000, f"nested more than {MAX_DEPTH} deep"),
        (b'{"a": ' + b"[" * 80 + b"]" * 80 + b"}", f"nested more than {MAX_DEPTH} deep"),
        (b'{"step": ' + b"9" * 5000 + b"}", "not JSON"),
    ],
)
def test_what_is_wrong_is_one_line_with_the_files_name(tmp_path, data, words):
    path = written(tmp_path, data)
    with pytest.raises(ValueError, match=words) as error:
        read_object(path, {"step": int}, {"rates": dict[str, float], "names": list[str]})
    assert str(path) in str(error.value) and "\n" not in str(error.value)
    assert len(str(error.value)) < 400


def test_right_ones_come_back_whole(tmp_path):
    data = {"step": 3, "rates": {"a": 1, "b": 0.5}, "more": [None]}
    path = written(tmp_path, data)
    assert read_object(path, {"step": int}, {"rates": dict[str, float], "names": list}) == data


def test_only_small_regular_files_are_opened(tmp_path):
    with pytest.raises(ValueError, match="2,000 bytes are too many, at most 1,000"):
        read_object(written(tmp_path, b" " * 2000), max_bytes=1000)
    os.mkfifo(tmp_path / "pipe")  # reading it would wait for ever
    with pytest.raises(ValueError, match="expected a regular file"):
        read_object(tmp_path / "pipe")
    with pytest.raises(ValueError, match="expected a regular file"):
        read_object(tmp_path)
    with pytest.raises(FileNotFoundError):
        read_object(tmp_path / "nothing")


def test_numbers_that_no_float_holds_are_no_floats():
    assert matches(10**300, float) and not matches(10**400, float)
    assert matches(None, int | None) and not matches("", int | None)
