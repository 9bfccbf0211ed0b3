"""A manifest guards a folder, and leads nowhere else."""

import json
import os

import pytest

from diffax.training.keeping import manifest


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "folder"
    (made / "deep").mkdir(parents=True)
    (made / "a").write_bytes(b"12")
    (made / "deep" / "b").write_bytes(b"345")
    manifest.write(made)
    assert manifest.problems(made) == []
    return made


def claim(folder, name, entry=None):
    """Adds an entry, its checksums right: whoever writes into a folder can do that."""
    entries = json.loads((folder / manifest.NAME).read_bytes())["files"]
    entries[name] = {"size": 0, "sha256": ""} if entry is None else entry
    (folder / manifest.NAME).write_bytes(manifest._serialise(entries))


@pytest.mark.parametrize(
    "name", ["../../dev/zero", "/dev/zero", "deep/../../outside", "..", "/etc/passwd", "out/zero"]
)
def test_what_lies_outside_is_refused_without_being_opened(folder, monkeypatch, name):
    (folder.parent / "outside").write_bytes(b"")
    (folder / "out").symlink_to("/dev")
    opened = []
    monkeypatch.setattr(manifest, "_digest", lambda path: opened.append(path.name) or "")
    claim(folder, name)
    assert f"manifest.json names {name!r}, which is outside" in manifest.problems(folder)
    assert sorted(opened) == ["a", "b"]  # as every other file of the right size


@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_only_regular_files_are_opened(folder, kind):
    path = folder / "odd"
    if kind == "link":
        path.symlink_to("/dev/zero")
    elif kind == "pipe":
        os.mkfifo(path)  # opening it would wait for ever
    else:
        path.mkdir()
    claim(folder, "odd")
    assert manifest.problems(folder) == ["odd is no regular file"]


def test_a_wrong_size_is_named_before_anything_is_read(folder, monkeypatch):
    monkeypatch.setattr(manifest, "_digest", lambda path: pytest.fail(f"{path} was read"))
    for path in (folder / "a", folder / "deep" / "b"):
        path.write_bytes(b"")
    assert manifest.problems(folder) == [
        "a has 0 bytes instead of 2",
        "deep/b has 0 bytes instead of 3",
    ]


@pytest.mark.parametrize(
    "entry", [None, 3, [], {"size": "2", "sha256": ""}, {"size": 2}, {"size": 2, "sha256": 1}]
)
def test_entries_of_another_shape_are_damage(folder, entry):
    entries = {"a": entry}
    (folder / manifest.NAME).write_bytes(manifest._serialise(entries))
    assert manifest.problems(folder) == ["manifest.json is damaged"]


@pytest.mark.parametrize("data", [b"[]", b"{}", b'{"files": []}', b"\xff", b"[" * 10**5])
def test_a_manifest_of_another_shape_is_damage(folder, data):
    (folder / manifest.NAME).write_bytes(data)
    assert manifest.problems(folder) == ["manifest.json is damaged"]
