"""Grey levels and numbers from -1 to 1."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffax.image_range import to_float, to_uint8

LEVELS = np.arange(256, dtype=np.uint8)


@pytest.mark.parametrize("kind", [np.asarray, jnp.asarray])
def test_every_level_comes_back(kind):
    x = to_float(kind(LEVELS))
    assert isinstance(x, type(kind(LEVELS))) and x.dtype == np.float32
    # one rounding of a quotient below 2, one of the difference: 2^-23
    np.testing.assert_allclose(x, LEVELS.astype(np.float64) / 127.5 - 1, atol=2**-23)
    assert x[0] == -1 and x[-1] == 1
    back = to_uint8(x)
    assert isinstance(back, type(x)) and back.dtype == np.uint8
    np.testing.assert_array_equal(back, LEVELS)


def test_numpy_and_compiled_programs_agree():
    # Between two levels, on both sides: the nearest one is taken.
    x = to_float(LEVELS)[:-1, None] + np.array([0.1, 0.4, 0.6, 0.9], np.float32) / 127.5
    np.testing.assert_array_equal(to_uint8(x), LEVELS[:-1, None] + np.array([0, 0, 1, 1]))
    np.testing.assert_array_equal(jax.jit(to_uint8)(x), to_uint8(x))
    np.testing.assert_allclose(jax.jit(to_float)(LEVELS), to_float(LEVELS), atol=2**-23)


@pytest.mark.parametrize("kind", [np.array, jnp.array])
def test_outside_the_range_and_no_numbers(kind):
    x = kind([-1.0, 1.0, 0.0, -7.0, 7.0, np.nan, np.inf, -np.inf])
    assert to_uint8(x).tolist() == [0, 255, 128, 0, 255, 0, 255, 0]


def test_types():
    assert to_uint8(LEVELS) is LEVELS
    assert to_uint8(jnp.ones(2, jnp.bfloat16)).tolist() == [255, 255]
    assert to_uint8(np.asarray(jnp.ones(2, jnp.bfloat16))).tolist() == [255, 255]
    assert to_uint8([1.0, -1.0]).tolist() == [255, 0]
    with pytest.raises(ValueError, match="got int64"):
        to_uint8(np.zeros(3, np.int64))
    with pytest.raises(ValueError, match="expected uint8 images, 0 to 255, got float64"):
        to_float(np.zeros(3))
