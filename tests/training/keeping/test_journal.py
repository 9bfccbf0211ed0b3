"""Lines of metrics outlive kills, lost futures, full disks and bad bytes."""

import json

import pytest

from diffax.training.keeping.journal import Journal, read_rows


def test_a_journal_forgets_a_future_that_was_lost(tmp_path):
    journal = Journal(tmp_path, 0)
    for step in (2, 4, 6):
        journal.write({"step": step, "loss": 1 / step})
    journal.close()
    path = tmp_path / "metrics.jsonl"
    before = path.read_text().splitlines(keepends=True)
    path.write_text("".join(before) + '{"step": 8, "lo')  # killed in the middle of a line
    journal = Journal(tmp_path, 4)
    assert [row["step"] for row in journal.rows] == [2, 4]
    journal.write({"step": 6, "loss": 1 / 6})
    journal.close()
    assert path.read_text() == "".join(before)


def test_a_line_that_could_not_be_written_comes_later(tmp_path):
    journal = Journal(tmp_path, 0)
    journal.write({"step": 1})
    file, journal._file = journal._file, FullFile(journal._file)
    with pytest.raises(OSError, match="No space"):
        journal.write({"step": 2})
    journal._file = file
    journal.write({"step": 3})
    journal.close()
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2, 3]


class FullFile:
    """Takes half of what it is given, as the last block of a full disk does."""

    def __init__(self, file):
        self._file = file

    def __getattr__(self, name):
        return getattr(self._file, name)

    def write(self, data):
        return self._file.write(data[: len(data) // 2])


def test_bytes_that_are_no_lines_do_not_stop_a_run(tmp_path, capsys):
    path = tmp_path / "metrics.jsonl"
    good = [b'{"step": 2, "loss": 0.5}', b'{"step": 4, "loss": NaN}']
    bad = [b"\xff\xfe", b'{"step": 3, "lo', b"[]", b'{"step": "3"}', b'{"loss": 1}', b"[" * 10**5]
    bad += [b'{"step": 3, "loss": {}}', b'{"step": 3.5}', b'{"step": true}', b"", b"\0"]
    path.write_bytes(b"\n".join([good[0], *bad, good[1], b'{"step": 6, "l\xc3']))
    rows, damaged = read_rows(path)
    assert [row["step"] for row in rows] == [2, 4] and damaged == len(bad)
    journal = Journal(tmp_path, 4)
    journal.write({"step": 6, "loss": 0.25})
    journal.close()
    assert [row["step"] for row in read_rows(path)[0]] == [2, 4, 6]
    assert f"{len(bad)} damaged lines were left out" in capsys.readouterr().err
    assert Journal(tmp_path, 6).rows[-1] == {"step": 6, "loss": 0.25}
    assert capsys.readouterr().err == ""  # said once, mended


def test_a_journal_must_be_a_file(tmp_path):
    assert read_rows(tmp_path / "metrics.jsonl") == ([], 0)
    (tmp_path / "metrics.jsonl").mkdir()
    with pytest.raises(ValueError, match="expected a regular file"):
        Journal(tmp_path, 0)
