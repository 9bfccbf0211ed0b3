"""What a sound looks like, as a condition."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffax.conditioning import Spectrogram
from diffax.data import Column, Spec, Tones
from diffax.generation import Request
from diffax.spectrogram import log_mel
from diffax.waveform import to_float

DATA = Tones(num=2, length=512).load()
CONDITIONER = Spectrogram(bands=8).fitted(DATA.spec)


def test_frames_are_those_of_the_batchs_own_sound():
    raw = DATA.arrays()["x"]
    told = CONDITIONER.columns({"x": raw[None]})  # a stack of batches
    assert told["spectrogram"].shape == (1, 2, 8, 8) and told["told"].shape == (1, 2)
    expected = log_mel(to_float(raw), 4000, bands=8, window=256, hop=64)
    np.testing.assert_array_equal(told["spectrogram"][0], expected)
    frames = CONDITIONER.encode({}, {k: v[0] for k, v in told.items()})["frames"]
    np.testing.assert_array_equal(frames[..., :8], expected)
    np.testing.assert_array_equal(frames[..., 8], 1)


def test_nothing_said_is_zeros():
    told = {"spectrogram": jnp.ones((4000, 2, 3)), "told": jnp.ones(4000)}
    frames = CONDITIONER.encode({}, CONDITIONER.drop(jax.random.key(0), told))["frames"]
    gone = (frames == 0).all(axis=(1, 2))
    assert float(gone.mean()) == pytest.approx(0.1, abs=0.02)  # four deviations
    assert (frames[~gone] == 1).all()
    asked, avoided = CONDITIONER.request(Request(), 3)
    assert (CONDITIONER.encode({}, asked)["frames"] == 0).all() and set(asked) == set(avoided)


def test_a_request_is_for_all_samples_or_one_for_each():
    shown = CONDITIONER.of(DATA.arrays()["x"])
    one, avoided = CONDITIONER.request(Request(spectrogram=shown[0]), 3)
    assert one["spectrogram"].shape == (3, 8, 8) and (avoided["told"] == 0).all()
    both, _ = CONDITIONER.request(Request(spectrogram=shown), 2)
    np.testing.assert_array_equal(both["spectrogram"], shown)
    for wrong in (shown[:, :, :5], np.zeros((3, 8, 8)), np.zeros(8)):
        with pytest.raises(ValueError, match=r"expected a spectrogram \[F, 8\], or 2, got shape"):
            CONDITIONER.request(Request(spectrogram=wrong), 2)


def test_errors():
    with pytest.raises(ValueError, match=r"for sound, int16 \[L, C\]; the data are float32 \[2\]"):
        Spectrogram().fitted(Spec({"x": Column((2,), "float32")}, size=1))
    with pytest.raises(ValueError, match="hop 100 does not divide the waveforms of 512 samples"):
        Spectrogram(hop=100).fitted(DATA.spec)
    with pytest.raises(ValueError, match="knows no rate yet"):
        Spectrogram().of(np.zeros((512, 1)))
    for fields in (dict(bands=0), dict(hop=300), dict(dropout=2.0)):
        with pytest.raises(ValueError, match=r"conditioner\.(bands|hop|dropout)"):
            Spectrogram(**fields)
