"""Sound -> model space -> sound -> files."""

import io

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.io import wavfile

from diffax.codecs import Waveform, is_written
from diffax.data import Column, Spec, Tones
from diffax.waveform import to_int16

SPEC = Spec({"x": Column((400, 1), "int16")}, size=4, rate=4000)


def test_levels_come_back_and_tones_have_unit_power():
    dataset = Tones(num=36, length=400).load()
    codec, raw = Waveform().fitted(dataset.spec), dataset.arrays()["x"]
    assert codec.rate == 4000 and is_written(codec)
    x = jax.jit(codec.encode)(jnp.asarray(raw))
    assert x.dtype == jnp.float32
    assert np.median(np.asarray(x).std(axis=(1, 2))) == pytest.approx(1, abs=0.02)
    np.testing.assert_array_equal(to_int16(np.asarray(codec.decode(x))), raw)
    np.testing.assert_array_equal(codec.encode(jnp.full((1, 2, 1), 0.5)), np.full((1, 2, 1), 5.0))
    assert float(codec.decode(jnp.array(1e3))) == 1.0 and codec.shape((400, 1)) == (400, 1)


def test_stretch_is_the_logarithm_of_the_determinant():
    codec = Waveform(rms=0.25)
    slope = (codec.encode(jnp.int16([[[1]]])) - codec.encode(jnp.int16([[[0]]]))).item()
    assert codec.log_stretch((7, 2)) == pytest.approx(14 * np.log(slope))


def test_one_file_or_several():
    codec = Waveform(rate=4000)
    data = np.random.default_rng(0).uniform(-1, 1, (3, 400, 2)).astype(np.float32)
    rate, one = wavfile.read(io.BytesIO(codec.to_file(data[:1], ".wav")))
    assert rate == 4000 and one.dtype == np.int16
    np.testing.assert_array_equal(one, to_int16(data[0]))
    _, three = wavfile.read(io.BytesIO(codec.to_file(data, ".wav")))
    parts = three.reshape(3, 900, 2)  # an eighth of a second of silence after each
    np.testing.assert_array_equal(parts[:, :400], to_int16(data))
    assert (parts[:, 400:] == 0).all()


def test_errors():
    with pytest.raises(ValueError, match=r"for sound, int16 \[L, C\]; the data are uint8 \[8, 8\]"):
        Waveform().fitted(Spec({"x": Column((8, 8), "uint8")}, size=1))
    with pytest.raises(ValueError, match="codec.rate is 8000 samples a second, the data have 4000"):
        Waveform(rate=8000).fitted(SPEC)
    with pytest.raises(ValueError, match=r"codec.rms must lie in \(0, 1\], got 0"):
        Waveform(rms=0.0)
    with pytest.raises(ValueError, match="codec.rate must be at least 1"):
        Waveform(rate=0)
    with pytest.raises(ValueError, match="knows no rate yet"):
        Waveform().to_file(np.zeros((1, 4, 1)), ".wav")
