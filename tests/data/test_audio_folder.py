"""Folders of sound: rates, channels, pieces, loudness, classes, and files that are none."""

import numpy as np
import pytest

from diffax.data import AudioFolder, audio_folder
from diffax.waveform import loudness, to_float

soundfile = pytest.importorskip("soundfile", reason="the audio extra (soundfile) is not installed")


def sinusoid(frequency, rate, seconds=1.0, amplitude=0.5):
    return amplitude * np.sin(2 * np.pi * frequency * np.arange(int(rate * seconds)) / rate)


def write(path, wave, rate, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, wave, rate, **options)


@pytest.fixture
def folder(tmp_path):
    write(tmp_path / "low/a.wav", sinusoid(220, 8000), 8000)
    write(tmp_path / "low/b.flac", sinusoid(250, 8000, 0.3), 8000)
    write(tmp_path / "high/c.wav", sinusoid(880, 8000, 0.01), 8000)
    (tmp_path / "low/notes.txt").write_text("not sound")
    return tmp_path


def test_pieces_follow_each_other_and_folders_are_classes(folder):
    dataset = AudioFolder(dir=str(folder), length=1000, loudness=None).load()
    spec, batch = dataset.spec, dataset.arrays()
    # high/c (80 samples, filled up), low/a (8,000: eight pieces), low/b (2,400: two, the rest left)
    assert (spec.size, spec.rate, spec.class_names) == (11, 8000, ("high", "low"))
    assert batch["x"].shape == (11, 1000, 1) and batch["x"].dtype == np.int16
    assert batch["label"].tolist() == [0] + [1] * 10
    whole = sinusoid(220, 8000)[:, None]
    np.testing.assert_allclose(to_float(batch["x"][1:9]).reshape(-1, 1), whole, atol=1e-4)
    assert (batch["x"][0, 80:] == 0).all() and (batch["x"][0, 1:40] != 0).all()
    report = dataset.summary()
    assert "3 files, 1.3 s, at 8,000 samples a second" in report and "1 other files" in report


def test_resampling_keeps_a_sinusoid_and_leaves_out_what_would_alias():
    for old, new in ((44_100, 16_000), (8000, 12_000)):
        wave = sinusoid(440, old)[:, None].astype(np.float32)
        made = audio_folder.resampled(wave, old, new)
        assert made.shape == (new, 1)
        middle = slice(new // 10, -new // 10)  # the ends ring
        np.testing.assert_allclose(made[middle, 0], sinusoid(440, new)[middle], atol=2e-3)
    high = sinusoid(11_000, 44_100)[:, None].astype(np.float32)  # above half of 16,000
    assert np.abs(audio_folder.resampled(high, 44_100, 16_000)[1600:-1600]).max() < 5e-3


def test_mixed_rates_need_a_rate(folder):
    write(folder / "low/d.wav", sinusoid(220, 16_000), 16_000)
    with pytest.raises(ValueError, match=r"have 2 rates \(.*8,000.*16,000.*set data.rate, for"):
        AudioFolder(dir=str(folder), length=1000).load()
    dataset = AudioFolder(dir=str(folder), length=4000, rate=4000, loudness=None).load()
    assert dataset.spec.rate == 4000
    last = to_float(dataset.examples(np.array([dataset.spec.size - 1]))["x"])[0, 400:-400, 0]
    np.testing.assert_allclose(last, sinusoid(220, 4000)[400:-400], atol=2e-3)


def test_stereo_and_mono(tmp_path):
    both = np.stack([sinusoid(220, 8000), sinusoid(330, 8000)], axis=1)
    write(tmp_path / "a.wav", both, 8000)
    write(tmp_path / "b.wav", both[:, 0], 8000)
    stereo = AudioFolder(dir=str(tmp_path), length=8000, channels=2, loudness=None).load()
    x = to_float(stereo.arrays()["x"])
    np.testing.assert_allclose(x[0], both, atol=1e-4)
    np.testing.assert_array_equal(x[1, :, 0], x[1, :, 1])
    mono = AudioFolder(dir=str(tmp_path), length=8000, loudness=None).load()
    np.testing.assert_allclose(to_float(mono.arrays()["x"])[0, :, 0], both.mean(axis=1), atol=1e-4)


def test_files_become_equally_loud_and_silence_stays_silence(tmp_path):
    for name, amplitude in (("a", 0.5), ("b", 0.05), ("c", 0.0), ("d", 1e-4)):
        write(tmp_path / f"{name}.wav", sinusoid(220, 8000, amplitude=amplitude), 8000)
    x = to_float(AudioFolder(dir=str(tmp_path), length=8000).load().arrays()["x"])
    assert [round(loudness(one), 1) for one in x[:2]] == [-20.0, -20.0]
    assert (x[2] == 0).all() and loudness(x[3]) < -60  # ten times as loud at most


def test_broken_files_are_left_out_and_named(folder):
    (folder / "low/broken.wav").write_bytes(b"RIFF and nothing more")
    dataset = AudioFolder(dir=str(folder), length=1000).load()
    assert "left out: 1 unreadable" in dataset.summary() and "broken.wav" in dataset.summary()
    for i in range(4):
        (folder / f"low/{i}.flac").write_bytes(b"fLaC")
    with pytest.raises(ValueError, match="of 8 files in .* cannot be read, more than half"):
        AudioFolder(dir=str(folder), length=1000).load()


def test_samples_that_are_not_finite_are_refused(tmp_path):
    wave = np.array([0.0, np.nan, 0.1] * 100)
    write(tmp_path / "a.wav", wave, 8000, subtype="FLOAT")
    with pytest.raises(ValueError, match="a.wav holds samples that are not finite"):
        AudioFolder(dir=str(tmp_path), length=100).load().arrays()


@pytest.mark.parametrize("fields, message", [
    (dict(), "audio_folder needs data.dir"),
    (dict(length=0), "data.length must be 1 to"),
    (dict(rate=5), "data.rate must be 1,000 to 192,000"),
    (dict(channels=5), "data.channels must be 1 or 2, got 5"),
    (dict(loudness=3.0), "data.loudness must be -60 to 0 decibel, got 3"),
    (dict(dir="/nowhere"), "there is no folder /nowhere"),
])  # fmt: skip
def test_bad_fields(fields, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        AudioFolder(**fields).load()


def test_a_folder_without_sound(tmp_path):
    (tmp_path / "a.mp3").write_text("x")
    with pytest.raises(FileNotFoundError, match=r"no sound in .*1 other files.*\.wav, \.flac"):
        AudioFolder(dir=str(tmp_path)).load()
