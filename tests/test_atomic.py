"""Files written whole or not at all."""

import os

import pytest

from diffax import atomic


@pytest.mark.parametrize("durable", [False, True])
@pytest.mark.parametrize("content", [b"new", lambda file: file.write(b"new")])
def test_bytes_or_a_writer_replace_the_older_file(tmp_path, content, durable):
    path = tmp_path / "a" / "b.bin"
    atomic.write(path, b"a longer, older text", durable=durable)
    atomic.write(path, content, durable=durable)
    assert path.read_bytes() == b"new"
    assert os.listdir(path.parent) == ["b.bin"]  # nothing temporary stays
    umask = os.umask(0)
    os.umask(umask)
    assert path.stat().st_mode & 0o777 == 0o666 & ~umask


def test_the_longest_name_that_a_folder_takes(tmp_path):
    atomic.write(tmp_path / ("x" * 255), b"1")
    assert os.listdir(tmp_path) == ["x" * 255]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("bug")])
def test_a_failure_in_the_middle_leaves_the_older_file(tmp_path, error):
    path = tmp_path / "a.bin"
    atomic.write(path, b"old")

    def half(file):
        file.write(b"ne")
        raise error

    # What is wrong with the disk is said in one line; other errors pass as they are.
    expected = "cannot write .*a.bin: No space left" if isinstance(error, OSError) else "bug"
    with pytest.raises(type(error), match=expected):
        atomic.write(path, half)
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["a.bin"]


def test_what_is_durable_reaches_the_disk_before_its_name_does(tmp_path, monkeypatch):
    order = []
    sync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (order.append("sync"), sync(fd)))
    monkeypatch.setattr(os, "replace", lambda a, b: (order.append("replace"), replace(a, b)))
    atomic.write(tmp_path / "a", b"1")
    assert order == ["replace"]
    order.clear()
    atomic.write(tmp_path / "a", b"2", durable=True)
    assert order == ["sync", "replace", "sync"]


def test_a_place_that_cannot_be_written_says_so(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(OSError, match="cannot write .*file/a: (File exists|Not a directory)"):
        atomic.write(tmp_path / "file" / "a", b"1")
    with pytest.raises(OSError, match="cannot write .*: Is a directory"):
        atomic.write(tmp_path, b"1")
