"""Which folders a run may have, and what it finds there."""

import json
from pathlib import Path

import pytest
import tiny_run

from diffax.training import Recipe
from diffax.training.keeping.workdir import check_workdir, claim, previous_config, read_summary


@pytest.mark.parametrize("text", ["", " ", "\t\n", "a\0b"])
def test_nothing_is_no_folder(text):
    with pytest.raises(ValueError, match="is a shell variable not set") as error:
        check_workdir(text)
    assert "\n" not in str(error.value) and "\0" not in str(error.value)


@pytest.mark.parametrize(
    "text", ["gs://bucket/run", "s3://b", "file:///tmp/x", "git+ssh://h/x", "GS://b", "gs:/b"]
)
def test_addresses_are_no_folders(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="is no folder; expected one, or (?i:g|s|f)"):
        check_workdir(text)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["file", "file/below", "file/far/below"])
def test_files_are_refused(tmp_path, text):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="file is a file; give a folder"):
        check_workdir(str(tmp_path / text))


def test_names_that_no_file_system_takes(tmp_path):
    with pytest.raises(ValueError, match="File name too long"):
        check_workdir(str(tmp_path / ("x" * 300)))


def test_folders_are_taken_as_they_are(tmp_path):
    for text in (str(tmp_path), str(tmp_path / "new" / "run"), "runs/digits", "a:b", "./gs:x", "é"):
        assert check_workdir(text) == Path(text)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    "content", [b"[]", b"null", b"\xff", b"{}", b'{"recipe": 3, "config": {}}', b"[" * 10**5]
    + [b'{"recipe": "a", "config": 3}', b'{"recipe": "a", "config": {}}', b'{"a": 1']
    + [b'{"recipe": "a", "config": {"model": 3}}', b'{"recipe": "a", "config": {"model": {}}}'],
)  # fmt: skip
def test_a_damaged_config_is_one_line(tmp_path, content):
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(ValueError, match="is not a run's config .*use another --workdir") as error:
        previous_config(tmp_path)
    assert "\n" not in str(error.value)


def test_a_config_comes_back(tmp_path):
    config = tiny_run.tiny_config()
    assert previous_config(tmp_path / "run") is None
    claim(tmp_path / "run", Recipe("tiny", "", Path("tiny.py"), config), config)
    assert previous_config(tmp_path / "run") == config


def test_a_summary_is_checked(tmp_path):
    assert read_summary(tmp_path) is None
    path = tmp_path / "summary.json"
    path.write_text(json.dumps({"step": 3, "complete": True, "figure": 0.5}))
    assert read_summary(tmp_path)["figure"] == 0.5
    for content in ("[]", '{"step": "3"}', '{"step": 3, "complete": 1}', '{"step": 3', "{}"):
        path.write_text(content)
        with pytest.raises(ValueError, match="summary.json: "):
            read_summary(tmp_path)
