"""train.py, sample.py and evaluate.py on sound, with a network that compiles in no time."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import wavfile

from diffax.commands import evaluate, sample
from diffax.data import Tones
from diffax.models import DiffWave
from diffax.training import Options, load_recipe, train_recipe
from diffax.waveform import to_int16

CONFIGS = Path(__file__).parents[2] / "configs"


def trained(name, folder, **data):
    """Four steps of a debug recipe."""
    recipe = load_recipe(name, CONFIGS)
    config = recipe.config
    network = DiffWave(channels=4, layers=2, cycle=2, patch=32)
    config = replace(
        config,
        data=replace(config.data, **data),
        objective=replace(config.objective, network=network),
        train=replace(config.train, steps=4, sample_every=0, tensorboard=False),
        sample=replace(config.sample, steps=2),
    )
    assert train_recipe(recipe, config, folder, Options(quiet=True)) == 0
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return trained("tones:debug", tmp_path_factory.mktemp("runs") / "tones")


def draw(*arguments):
    return sample.main([str(a) for a in (*arguments, "--quiet")])


def test_a_run_leaves_sound_and_its_image(run):
    rate, sound = wavfile.read(run / "samples.wav")
    assert rate == 4000 and sound.dtype == np.int16 and len(sound) == 4 * (512 + 500)
    assert Image.open(run / "samples.png").size[0] > 500


@pytest.mark.slow
def test_every_ending(run, tmp_path):
    asked = ("--workdir", run, "--label", "A4 pluck", "--num", 3)
    for name in ("notes.wav", "notes.npz", "notes.png", "folder"):
        assert draw(*asked, "--out", tmp_path / name) == 0
    arrays = np.load(tmp_path / "notes.npz")
    assert arrays["arr_0"].shape == (3, 512, 1) and np.abs(arrays["arr_0"]).max() <= 1
    names = Tones().load().spec.class_names
    assert arrays["arr_1"].tolist() == [names.index("A4 pluck")] * 3
    files = sorted((tmp_path / "folder").iterdir())
    assert [file.name for file in files] == ["00000.wav", "00001.wav", "00002.wav"]
    rate, second = wavfile.read(files[1])
    assert rate == 4000
    np.testing.assert_array_equal(second, to_int16(arrays["arr_0"][1, :, 0]))
    _, all_three = wavfile.read(tmp_path / "notes.wav")
    np.testing.assert_array_equal(all_three[1012:1524], second)


def test_pitch_is_measured(run, tmp_path):
    arguments = ["--workdir", run, "--metrics", "pitch", "--num", 36, "--out", tmp_path, "--quiet"]
    assert evaluate.main([str(a) for a in arguments]) == 0
    text = (tmp_path / "evaluation.json").read_text()
    assert '"pitch_accuracy"' in text and '"pitch_accuracy_of_real"' in text
    json.loads(text)


def test_errors(run, tmp_path, capsys):
    def refused(*arguments):
        assert draw("--workdir", run, *arguments) == 2
        return capsys.readouterr().err

    assert "--spectrogram needs a vocoder" in refused("--spectrogram", "a.wav")
    assert "no class is called 'H4 pluck'" in refused("--label", "H4 pluck")
    assert "ends in '.mp3'" in refused("--out", tmp_path / "a.mp3")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_gaps_of_a_series_are_filled(tmp_path, capsys):
    recipe = load_recipe("time_series:debug", CONFIGS)
    config = replace(recipe.config, data=replace(recipe.config.data, length=16))
    network = DiffWave(channels=4, layers=2, cycle=2, patch=2)
    config = replace(
        config,
        objective=replace(config.objective, network=network),
        train=replace(config.train, steps=2, sample_every=0, tensorboard=False, images=False),
    )
    run = tmp_path / "run"
    assert train_recipe(recipe, config, run, Options(quiet=True)) == 0
    window = np.random.default_rng(0).normal(size=(16, 2)).round(3)
    cells = [[str(number) for number in row] for row in window]
    cells[3][0], cells[9][1] = "", "NaN"
    (tmp_path / "a.csv").write_text("a,b\n" + "\n".join(map(",".join, cells)) + "\n")
    np.save(tmp_path / "a.npy", window)
    out = tmp_path / "filled.npz"
    assert draw("--workdir", run, "--series", tmp_path / "a.csv", "--num", 3, "--out", out) == 0
    filled = np.load(out)["arr_0"]
    made = np.isin(np.array(cells), ["", "NaN"])
    np.testing.assert_allclose(filled[:, ~made], np.tile(window[~made], (3, 1)), atol=1e-5)
    assert np.isfinite(filled).all() and len(np.unique(filled[:, made])) == 6
    for words, message in (
        (("--series", tmp_path / "a.npy"), "nothing is missing in it"),
        (("--series", tmp_path / "none.csv"), "there is no file"),
        (("--series", tmp_path / "a.csv", "--init-image", "a.png"), "not both"),
    ):
        assert draw("--workdir", run, *words, "--out", tmp_path / "b.npz") == 2
        assert message in capsys.readouterr().err
    (tmp_path / "a.csv").write_text("1,\n" * 9)
    assert draw("--workdir", run, "--series", tmp_path / "a.csv") == 2
    assert "expected a sequence [16, 2]" in capsys.readouterr().err


@pytest.mark.slow
def test_a_vocoder_makes_a_sound_anew(tmp_path, capsys):
    soundfile = pytest.importorskip("soundfile", reason="the audio extra is not installed")
    run = trained("tones:vocoder_debug", tmp_path / "run")
    note = np.random.default_rng(0).normal(0, 0.1, 3000)  # longer, and of another rate
    soundfile.write(tmp_path / "note.flac", note, 8000)
    made = []
    for name, told in (("a", ("--spectrogram", tmp_path / "note.flac")), ("b", ())):
        out = tmp_path / f"{name}.npz"
        assert draw("--workdir", run, *told, "--num", 2, "--out", out) == 0
        made.append(np.load(out)["arr_0"])
    assert np.abs(made[0] - made[1]).max() > 1e-6
    assert draw("--workdir", run, "--spectrogram", tmp_path / "none.wav") == 2
    assert "there is no file" in capsys.readouterr().err
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    assert draw("--workdir", run, "--spectrogram", tmp_path / "broken.wav") == 2
    assert "cannot be read as sound" in capsys.readouterr().err


@pytest.mark.slow
def test_a_folder_of_sound_is_learned(tmp_path):
    soundfile = pytest.importorskip("soundfile", reason="the audio extra is not installed")
    notes = Tones(num=6, length=2000).load().arrays()["x"]
    for i, (label, note) in enumerate(zip("aab" * 2, notes, strict=True)):
        path = tmp_path / "sounds" / label / f"{i}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, note, (4000, 8000)[i % 2])  # mixed rates, resampled
    run = trained("audio_folder:debug", tmp_path / "run", dir=str(tmp_path / "sounds"))
    assert draw("--workdir", run, "--label", "b", "--out", tmp_path / "b.wav") == 0
    assert wavfile.read(tmp_path / "b.wav")[0] == 4000
