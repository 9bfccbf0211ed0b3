"""Notes that are synthesised on the spot."""

import numpy as np
import pytest

from diffax.data import Tones, tones
from diffax.evaluation import pitch

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("frequency", [220.0, 311.127, 415.305, 659.255])
def test_a_plucked_string_has_its_pitch_and_dies_away(frequency):
    note = tones.pluck(frequency, 4096, 4000, np.random.default_rng(3))
    heard = pitch(note[None, :, None], 4000)[0]
    assert abs(1200 * np.log2(heard / frequency)) < 3  # cents
    turns = np.hanning(512) * np.exp(2j * np.pi * heard * np.arange(512) / 4000)
    early, late = (abs(turns @ note[i : i + 512]) for i in (2048, 3072))  # of the fundamental
    assert late / early == pytest.approx(np.exp(-tones.FADING * 0.256), rel=0.03)
    assert abs(note[-512:].mean()) < 0.05 * note[-512:].std()  # it does not lean to one side


def test_a_plucked_strings_partials_are_whole_multiples():
    note = tones.pluck(250.0, 4096, 8000, np.random.default_rng(1))[2048:]
    amplitudes = np.abs(np.fft.rfft(note * np.hanning(2048)))
    step = 8000 / 2048
    inside = np.zeros(len(amplitudes), bool)
    for k in range(1, 16):
        near = round(k * 250 / step)
        inside[near - 4 : near + 5] = True
    assert np.square(amplitudes[inside]).sum() > 0.999 * np.square(amplitudes).sum()


def test_a_chirp_ends_on_its_pitch_and_a_chord_stands_on_it():
    glide = tones.chirp(300.0, 2048, 4000, np.random.default_rng(0))
    assert pitch(glide[None, :, None], 4000)[0] == pytest.approx(300, rel=1e-3)
    triad = np.abs(np.fft.rfft(tones.chord(300.0, 4000, 4000, RNG) * np.hanning(4000)))
    partials = [round(300 * 2 ** (step / 12)) for step in (0, 4, 7)]
    for partial in partials:  # a hertz a bin
        assert triad[partial - 2 : partial + 3].max() > 0.5 * triad.max()


def test_classes_are_pitch_and_timbre_in_turn():
    dataset = Tones(num=72, length=400).load()
    names, batch = dataset.spec.class_names, dataset.arrays()
    assert len(names) == 36 and names[:4] == ("C4 pluck", "C4 chord", "C4 chirp", "C#4 pluck")
    assert names[-1] == "B4 chirp" and np.bincount(batch["label"]).tolist() == [2] * 36
    assert batch["x"].shape == (72, 400, 1) and batch["x"].dtype == np.int16
    assert dataset.spec.rate == 4000
    power = np.sqrt(np.mean(np.square(batch["x"] / 32768), axis=(1, 2)))
    assert (power < 0.101).all() and np.median(power) == pytest.approx(0.1, rel=0.01)
    plain = Tones(num=5, length=400, labels=False).load()
    assert set(plain.spec.columns) == {"x"} and plain.spec.num_classes == 0


def test_seed_and_split_decide_the_notes():
    first, again, other, test = (
        Tones(num=4, length=400, seed=seed, split=split).load().arrays()["x"]
        for seed, split in ((0, "train"), (0, "train"), (1, "train"), (0, "test"))
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any(axis=(1, 2)).all() and (first != test).any(axis=(1, 2)).all()


def test_notes_have_names():
    assert tones.frequency_of("A4") == 440 and tones.frequency_of("A3 chirp") == 220
    assert tones.frequency_of("C#4 pluck") == pytest.approx(277.183, abs=1e-3)
    assert tones.frequency_of("G#4") == pytest.approx(440 * 2 ** (-1 / 12))
    with pytest.raises(ValueError, match="expected a note such as 'A4'.*got 'seven'"):
        tones.frequency_of("seven")


@pytest.mark.parametrize("fields, message", [
    (dict(num=0), r"data.num must be 1 to 1,000,000, got 0"),
    (dict(rate=100), r"data.rate must be 2,000 to 48,000 samples a second, got 100"),
    (dict(length=10), r"data.length must be .*200 to 40,000 samples at data.rate 4000.*got 10"),
    (dict(seed=-1), r"data.seed must be 0 to 2\*\*31 - 1, got -1"),
    (dict(split="all"), r"data.split must be one of train, test, got 'all'"),
])  # fmt: skip
def test_bad_fields(fields, message):
    with pytest.raises(ValueError, match=message):
        Tones(**fields)
