"""16-bit samples of sound and the numbers that networks see."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffax import waveform


def test_every_level_comes_back():
    levels = np.arange(-32768, 32768).astype(np.int16)
    x = waveform.to_float(levels)
    assert x.dtype == np.float32 and x.min() == -1 and x.max() < 1
    np.testing.assert_array_equal(waveform.to_int16(x), levels)
    assert waveform.to_int16(levels) is levels
    np.testing.assert_array_equal(jax.jit(waveform.to_float)(jnp.asarray(levels)), x)


def test_what_does_not_fit_is_clipped():
    np.testing.assert_array_equal(
        waveform.to_int16(np.array([-7.0, 1.0, np.inf, np.nan])), [-32768, 32767, 32767, 0]
    )
    with pytest.raises(ValueError, match="expected a waveform as int16, got float32"):
        waveform.to_float(np.zeros(3, np.float32))


def test_loudness_of_a_full_sinusoid_is_minus_three_decibel():
    wave = np.sin(2 * np.pi * np.arange(1000) / 100)
    assert waveform.loudness(wave) == pytest.approx(10 * np.log10(0.5))
    assert waveform.loudness(np.zeros(4)) == -np.inf
