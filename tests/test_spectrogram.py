"""Short-time Fourier transforms and mel bands."""

import numpy as np
import pytest

from diffax.spectrogram import FLOOR, log_mel, magnitudes, mel_bands

RATE = 4000
TIME = np.arange(2048) / RATE


def test_a_sinusoid_has_its_amplitude_in_its_bin():
    wave = 0.3 * np.sin(2 * np.pi * 500 * TIME)
    shown = magnitudes(wave, window=256, hop=64)
    assert shown.shape == (32, 129) and shown.dtype == np.float32
    inner = shown[4:-4]  # the others look beyond the ends
    np.testing.assert_array_equal(inner.argmax(axis=1), 256 * 500 // RATE)
    np.testing.assert_allclose(inner.max(axis=1), 0.3, rtol=1e-3)


def test_frame_i_looks_at_its_own_place():
    for hop, window in ((64, 256), (64, 16)):
        click = np.zeros(512)
        click[5 * hop + hop // 2] = 1
        assert magnitudes(click, window, hop).sum(axis=1).argmax() == 5
    with pytest.raises(ValueError, match="expected at least a hop of 64 samples, got 10"):
        magnitudes(np.zeros(10), 256, 64)


@pytest.mark.parametrize("bands, window", [(8, 256), (32, 256), (80, 64)])
def test_no_band_is_empty_and_each_has_one_top(bands, window):
    triangles = mel_bands(RATE, bands, window)
    assert triangles.shape == (bands, window // 2 + 1)
    assert (triangles.max(axis=1) > 0.4).all() and triangles.max() <= 1
    assert (np.diff(triangles.argmax(axis=1)) >= 0).all()


def test_logarithms_go_from_silence_to_a_full_sinusoid():
    options = dict(bands=16, window=256, hop=64)
    silence = log_mel(np.zeros((2, 512, 2)), RATE, **options)
    assert silence.shape == (2, 8, 16) and silence.dtype == np.float32
    np.testing.assert_array_equal(silence, 0)
    quiet, loud = (
        log_mel(a * np.sin(2 * np.pi * 500 * TIME)[:, None], RATE, **options) for a in (0.01, 1.0)
    )
    assert loud[8].max() == pytest.approx(1, abs=0.05)
    # A factor of a hundred is a distance of log 100 / log 1e4: a half.
    top = loud[8].argmax()
    assert loud[8, top] - quiet[8, top] == pytest.approx(np.log(0.01) / np.log(FLOOR), abs=1e-3)
