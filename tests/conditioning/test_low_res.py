"""Small images as a condition: made of large ones, noised, enlarged."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffax.conditioning import LowRes
from diffax.conditioning.low_res import enlarged, shrunk
from diffax.data import Column, Spec
from diffax.generation import Request

IMAGES = np.random.default_rng(0).integers(0, 256, (2, 3, 8, 12, 3), np.uint8)  # stacked batches


def asked(low_res, **more):
    """A request for samples twice as large as the images are."""
    return Request(**{"low_res": low_res, "height": 16, "width": 24, **more})


def test_columns_are_means_of_squares():
    told = LowRes(factor=4).columns({"x": IMAGES})
    assert told["low_res"].shape == (2, 3, 2, 3, 3) and told["noise_level"].shape == (2, 3)
    expected = (IMAGES[1, 2, 4:8, 8:12] / 127.5 - 1).mean((0, 1))
    np.testing.assert_allclose(told["low_res"][1, 2, 1, 2], expected, atol=1e-6)


def test_noise_keeps_the_variance_and_its_level_is_told():
    conditioner = LowRes(noise=0.8)
    small = jax.random.normal(jax.random.key(1), (64, 8, 8, 3))
    told = conditioner.drop(jax.random.key(0), {"low_res": small, "noise_level": jnp.zeros(64)})
    level = told["noise_level"]
    assert 0 <= float(level.min()) < 0.1 and 0.7 < float(level.max()) < 0.8
    each = level[:, None, None, None]
    noise = (told["low_res"] - jnp.sqrt(1 - each**2) * small) / each
    assert float(jnp.std(noise)) == pytest.approx(1, abs=0.02)  # 12,288 draws
    assert float(jnp.std(told["low_res"])) == pytest.approx(float(jnp.std(small)), abs=0.03)


def test_the_condition_is_a_large_image_and_the_waves_of_the_level():
    small = jnp.full((2, 4, 4, 3), 0.25)
    told = {"low_res": small, "noise_level": jnp.array([0.0, 0.1])}
    condition = LowRes(factor=2).encode({}, told)
    np.testing.assert_allclose(condition["channels"], np.full((2, 8, 8, 3), 0.25), atol=1e-6)
    assert condition["embedding"].shape == (2, 32)
    assert float(jnp.abs(condition["embedding"][0] - condition["embedding"][1]).max()) > 0.5
    ramp = jnp.broadcast_to(jnp.arange(8.0)[None, :, None, None], (1, 8, 8, 1))
    large = np.asarray(enlarged(ramp, 2))[0, 4:12, 0, 0]  # inside, a ramp stays one
    np.testing.assert_allclose(np.diff(large), 0.5, atol=1e-5)
    back = shrunk(np.asarray(enlarged(ramp, 2)), 2)[0, 2:6, 0, 0]
    np.testing.assert_allclose(back, [2, 3, 4, 5], atol=1e-5)


def test_a_request_is_noised_by_its_seeds():
    conditioner = LowRes(noise=0.5)
    request = asked(IMAGES[0, 0], noise_level=0.3, seed=7)
    first, _ = conditioner.request(request, 3)
    again, avoided = conditioner.request(request, 2)
    np.testing.assert_array_equal(first["low_res"][:2], again["low_res"])
    np.testing.assert_array_equal(avoided["low_res"], again["low_res"])
    assert np.abs(first["low_res"][0] - first["low_res"][1]).max() > 0.1
    clean, _ = conditioner.request(dataclasses.replace(request, noise_level=None), 1)
    np.testing.assert_allclose(clean["low_res"][0], IMAGES[0, 0] / 127.5 - 1, atol=1e-6)


def test_the_channels_are_the_datas():
    spec = Spec({"x": Column((8, 8, 1), "uint8")}, 4)
    assert LowRes().fitted(spec).channels == 1


@pytest.mark.parametrize("make, words", [
    (lambda: LowRes(factor=1), "conditioner.factor must lie in 2 to 16"),
    (lambda: LowRes(noise=1.0), "conditioner.noise must lie in"),
    (lambda: LowRes(factor=3).fitted(Spec({"x": Column((8, 8, 3), "uint8")}, 4)), "multiples of 3"),
    (lambda: LowRes().fitted(Spec({"x": Column((2,), "float32")}, 4)), "needs images"),
    (lambda: LowRes().request(Request(), 2), "give low_res"),
    (lambda: LowRes().request(asked(IMAGES[0]), 2), "low_res: expected one image, or 2, got 3"),
    (lambda: LowRes().request(asked(IMAGES[0], noise_level=0.5), 3), "0 to 0.2"),
    (lambda: LowRes().request(asked(IMAGES[0, 0, :, :, 0]), 1), r"an image \[H, W, C\]"),
    (lambda: LowRes(channels=1).request(asked(IMAGES[0]), 3), r"low_res: .* image \[H, W, 1\]"),
    (lambda: LowRes(4).request(asked(IMAGES[0]), 3), "4x6 for samples of 16x24, got 8x12: resize "
     "them, or ask for height 32 and width 48"),
    # One row more than twice the image's, which no image can be enlarged to.
    (lambda: LowRes().request(asked(IMAGES[0], height=17), 3), "8.5x12 for samples of 17x24"),
])  # fmt: skip
def test_what_cannot_be_is_one_line(make, words):
    with pytest.raises(ValueError, match=words):
        make()
