"""Sound and time series to be looked at."""

import numpy as np
import pytest
from PIL import Image

from diffax import plotting
from diffax.codecs import Waveform
from diffax.plotting import audio

TIME = np.arange(2048)[:, None] / 4000


def test_a_high_tone_is_bright_above_a_low_one():
    waves = np.stack([np.sin(2 * np.pi * f * TIME) for f in (300, 1700)])
    page = plotting.audio_grid(waves, 4000, titles=("low", "high")).astype(float)
    height, width = page.shape[:2]
    inner = page[height // 2 : -8]  # below the waveforms, above the margin
    low, high = (
        inner[:, left + 20 : left + width // 2 - 20].sum(axis=(1, 2)).argmax()
        for left in (0, width // 2)
    )
    assert high < low - 20  # rows count from the top


def test_many_waveforms_become_some_and_silence_can_be_drawn(monkeypatch):
    monkeypatch.setattr(audio, "_MOST", 2)
    few = plotting.audio_grid(np.zeros((40, 64, 2)), 4000)
    assert few.shape == plotting.audio_grid(np.zeros((2, 64, 2)), 4000).shape
    with pytest.raises(ValueError, match=r"expected waveforms \[N, L, C\]"):
        plotting.audio_grid(np.zeros((4, 64)), 4000)
    with pytest.raises(ValueError, match="got .* and 1 titles"):
        plotting.audio_grid(np.zeros((4, 64, 1)), 4000, titles=("one",))


def test_sound_and_sequences_are_drawn_by_their_kind():
    sound = np.zeros((2, 64, 1))
    np.testing.assert_array_equal(
        plotting.drawn(sound, Waveform(rate=4000)), plotting.audio_grid(sound, 4000)
    )
    series = np.random.default_rng(0).normal(size=(5, 30, 3))
    page = plotting.drawn(series)
    np.testing.assert_array_equal(page, plotting.series_grid(series))
    assert page.shape == (240, 960, 3) and (page != 255).any()
    with pytest.raises(ValueError, match=r"expected time series \[N, L, C\]"):
        plotting.series_grid(series[0])


def test_sequences_are_written_as_lines_and_as_their_denoising(tmp_path):
    series = np.random.default_rng(0).normal(size=(2, 30, 1))
    plotting.export(tmp_path / "a.png", series)
    plotting.export(tmp_path / "a.gif", series, trajectory=np.stack([series[:, ::-1], series]))
    assert Image.open(tmp_path / "a.png").size == (480, 120)
    assert Image.open(tmp_path / "a.gif").n_frames == 2
