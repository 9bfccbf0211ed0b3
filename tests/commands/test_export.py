"""diffax export: the flags reach `export_run`, whose files test_tuning reads back."""

import pytest

from diffax.commands import export
from diffax.commands.program import main


@pytest.mark.parametrize("given, asked", [
    ([], (None, None)),
    (["--ema", "none", "--checkpoint", "20"], ("none", 20)),
])  # fmt: skip
def test_what_is_said_is_exported(given, asked, tmp_path, monkeypatch, capsys):
    seen = []
    monkeypatch.setattr(export, "export_run", lambda *told: seen.append(told) or "lora")
    assert main(["export", "--workdir", str(tmp_path), "--out", "fox.safetensors", *given]) == 0
    assert seen == [(str(tmp_path), "fox.safetensors", *asked)]
    assert capsys.readouterr().out == "wrote fox.safetensors: a LoRA, in diffusers' layout\n"


@pytest.mark.parametrize("given, words", [
    ([], "--workdir, --out"),
    (["--workdir", "runs/none"], "--out"),
    (["--workdir", "runs/none", "--out", "x"], "runs/none holds no run; train first"),
    (["--workdir", "", "--out", "x"], "is a shell variable not set?"),
    (["--workdir", "runs/none", "--out", "x", "--checkpoint", "new"], "invalid int value: 'new'"),
    (["--workdir", "a", "--workdir", "b", "--out", "x"], "--workdir is given twice"),
])  # fmt: skip
def test_bad_input_is_one_line(given, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert export.main(given) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: ") and told.count("\n") == 1 and words in told
    assert not list(tmp_path.iterdir())
