"""A run of texts by the three command lines."""

import json

import pytest

from diffax.commands import evaluate, sample, train

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    book = folder / "book.txt"
    book.write_text("the cat sat on the mat\n" * 60)
    quick = ["--train.steps", "10", "--train.tensorboard", "False", "--data.file", str(book)]
    workdir = folder / "text"
    assert train.main(["--config", "text:debug", "--workdir", str(workdir), *quick]) == 0
    assert (workdir / "samples.txt").is_file() and (workdir / "samples.png").is_file()
    return workdir


def test_samples_begin_and_end_as_asked(workdir, tmp_path):
    out = tmp_path / "a.txt"
    asked = ["--prefix", "the c", "--suffix", "mat", "--num", "3", "--quiet"]
    assert sample.main(["--workdir", str(workdir), "--out", str(out), *asked]) == 0
    texts = out.read_text().rstrip("\n").split("\n" + 20 * "-" + "\n")
    assert len(texts) == 3
    assert all(t.startswith("the c") and t.endswith("mat") and len(t) == 16 for t in texts)
    for name in ("page.png", "way.gif", "ids.npz", "folder"):
        path = tmp_path / name
        assert sample.main(["--workdir", str(workdir), "--out", str(path), "--num", "2"]) == 0
        assert path.exists()


@pytest.mark.parametrize(
    "words, message",
    [
        (["--out", "a.wav"], "--out ends in '.wav'"),
        (["--out", "a.txt", "--prefix", "É"], "the character 'É' is none of the"),
        (["--out", "a.txt", "--prefix", 17 * "t"], "have 17 characters, and a sample has 16"),
        (["--out", "a.txt", "--sampler", "ddim"], "use ancestral, confident, tau_leaping"),
    ],
)
def test_bad_words_are_refused_in_one_line(workdir, words, message, capsys):
    assert sample.main(["--workdir", str(workdir), "--quiet", *words]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_another_text_of_the_same_characters_is_noticed(workdir, capsys):
    book = workdir.parent / "book.txt"
    before = book.read_text()
    words = ["--config", "text:debug", "--workdir", str(workdir), "--train.steps", "10"]
    words += ["--train.tensorboard", "False", "--data.file", str(book)]
    assert train.main(words) == 0  # all steps are done
    capsys.readouterr()
    try:
        book.write_text(before[::-1])
        assert train.main(words) == 2
    finally:
        book.write_text(before)
    error = capsys.readouterr().err
    assert "begun with other data than there are now" in error and error.count("\n") == 1


def test_the_report_has_bits_a_character(workdir, tmp_path):
    words = ["--workdir", str(workdir), "--out", str(tmp_path), "--quiet"]
    assert evaluate.main(words) == 0
    report = json.loads((tmp_path / "evaluation.json").read_text())
    assert "token_bits" in json.dumps(report)
    assert "held_out_bits" in json.dumps(report)
