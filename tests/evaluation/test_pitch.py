"""The judge of pitch."""

import numpy as np
import pytest

from diffax.data import Tones
from diffax.evaluation import PitchAccuracy, Watched, pitch
from diffax.evaluation.pitch import cents
from diffax.generation import Samples
from diffax.waveform import to_float

HELD_OUT = Tones(num=180, split="test")


def watched(data, label, noun=HELD_OUT):
    told = {} if label is None else {"label": label}
    return Watched(None, noun, None, None, given=Samples(data, data, told))


def test_a_sinusoid_is_heard_to_a_cent():
    wanted = np.array([100.0, 222.2, 440.0, 1234.5])
    waves = np.sin(2 * np.pi * wanted[:, None] * np.arange(2048) / 4000)[..., None]
    assert np.abs(cents(pitch(waves, 4000), wanted)).max() < 4
    assert np.isnan(pitch(np.zeros((1, 2048, 1)), 4000)).all()


def test_real_notes_are_judged_right_and_others_wrong():
    batch = HELD_OUT.load().arrays()
    x = to_float(batch["x"])
    figures = PitchAccuracy()(watched(x, batch["label"]))
    assert figures["pitch_accuracy"] == figures["pitch_accuracy_of_real"] >= 0.97
    assert figures["pitch_error"] < 2
    next_pitch = (batch["label"] + 3) % 36  # a semitone higher
    assert PitchAccuracy()(watched(x, next_pitch))["pitch_accuracy"] < 0.03
    noise = np.random.default_rng(0).normal(0, 0.1, x.shape)
    assert PitchAccuracy()(watched(noise, batch["label"]))["pitch_accuracy"] < 0.2
    null = np.full_like(batch["label"], 36)
    assert PitchAccuracy()(watched(x, null))["pitch_accuracy"] == 0


def test_errors():
    with pytest.raises(ValueError, match="needs sound whose classes name notes"):
        PitchAccuracy()(watched(np.zeros((2, 2048, 1)), None))
