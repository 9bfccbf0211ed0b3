"""Raw data -> model space -> data."""

from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffax.codecs import Identity, Latent, Pixels, Standardize
from diffax.data import ArrayFile, Column, Spec, Toy
from diffax.image_range import to_uint8

IMAGES = Spec({"x": Column((8, 8, 3), "uint8")}, size=4)


def test_pixels_go_there_and_back():
    codec = Pixels().fitted(IMAGES)
    levels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    x = codec.encode(jnp.asarray(levels))
    assert x.dtype == jnp.float32 and float(x.min()) == -1 and float(x.max()) == 1
    np.testing.assert_array_equal(to_uint8(np.asarray(codec.decode(x))), levels)
    assert codec.shape((8, 8, 3)) == (8, 8, 3)
    floats = jnp.array([[-3.0, 0.5]])
    assert codec.encode(floats) is floats
    np.testing.assert_array_equal(codec.decode(floats), [[-1.0, 0.5]])


def test_standardize_takes_what_the_data_measured():
    dataset = Toy("moons", num=100).load()
    codec = Standardize().fitted(dataset.spec)
    raw = dataset.arrays()["x"]
    x = codec.encode(jnp.asarray(raw))
    # The set's moments are those of a far larger draw: 100 vectors scatter about them.
    np.testing.assert_allclose(x.mean(0), 0, atol=0.3)
    np.testing.assert_allclose(x.std(0), 1, atol=0.2)
    np.testing.assert_allclose(codec.decode(x), raw, atol=1e-6)
    half = Standardize(std=3.0).fitted(dataset.spec)
    assert half.std == 3.0 and half.mean == dataset.spec.mean
    given = Standardize(mean=1.0, std=2.0)
    assert given.fitted(dataset.spec) is given


@pytest.mark.parametrize("shape", [(3,), (5, 3), (4, 4, 3)])
def test_standardize_is_of_the_last_axis(shape):
    codec = Standardize(mean=(1.0, 2.0, 3.0), std=(1.0, 2.0, 4.0))
    raw = jax.random.normal(jax.random.key(0), (2, *shape))
    x = codec.encode(raw)
    np.testing.assert_allclose(x[..., 2], (raw[..., 2] - 3) / 4, atol=1e-6)
    np.testing.assert_allclose(codec.decode(x), raw, atol=1e-6)
    assert codec.shape(shape) == shape


def test_moments_of_arrays_of_latents(tmp_path):
    raw = np.random.default_rng(0).normal(3, 2, (50, 4, 4, 5)).astype(np.float32)
    np.save(tmp_path / "latents.npy", raw)
    spec = ArrayFile(dir=str(tmp_path / "latents.npy")).load().spec
    x = Standardize().fitted(spec).encode(jnp.asarray(raw))
    np.testing.assert_allclose(x.mean((0, 1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(x.std((0, 1, 2)), 1, atol=1e-5)


def test_identity():
    raw = jnp.arange(6, dtype=jnp.int32).reshape(2, 3)
    x = Identity().fitted(IMAGES).encode(raw)
    assert x.dtype == jnp.float32
    np.testing.assert_array_equal(Identity().decode(x), raw)


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: Standardize().fitted(IMAGES), "the data are uint8; use pixels"),
        (lambda: Pixels().fitted(Toy().load().spec), "use standardize"),
        (lambda: Standardize(std=0.0), "std must be > 0, got 0"),
        (lambda: Standardize(std=(1.0, -1.0)), "std must be > 0, got -1"),
        (lambda: Standardize(std=float("nan")), "std must be > 0, got nan"),
        (lambda: Standardize(std=1.0).decode(jnp.zeros((1, 2))), "no mean or std yet"),
    ],
)
def test_what_does_not_fit_is_one_line(make, words):
    with pytest.raises(ValueError, match=words):
        make()


# ---------------------------------------------------------------- latents


class Blocks(nn.Module):
    """An autoencoder whose latents are means of 2 x 2 pixels: what it does is local."""

    factor: int = 2
    latent_channels: int = 3
    reach: ClassVar[int] = 0

    def encode(self, x):
        b, h, w, c = x.shape
        return x.reshape(b, h // 2, 2, w // 2, 2, c).mean((2, 4))

    def decode(self, z):
        return z.repeat(2, axis=1).repeat(2, axis=2)

    def scale(self, z):
        return 2 * z

    def unscale(self, z):
        return z / 2


def blocky(height: int, width: int) -> np.ndarray:
    """Images whose 2 x 2 blocks are of one colour, uint8 `[2, height, width, 3]`."""
    small = np.random.default_rng(0).integers(0, 256, (2, height // 2, width // 2, 3), np.uint8)
    return small.repeat(2, axis=1).repeat(2, axis=2)


def test_latents_go_there_and_back_inside_and_outside_of_jit():
    codec = Latent(Blocks(), {})
    images = blocky(8, 12)
    assert codec.shape((8, 12, 3)) == (4, 6, 3)
    latents = codec.encode(jnp.asarray(images))
    assert latents.shape == (2, 4, 6, 3) and float(jnp.abs(latents).max()) > 1  # scaled
    np.testing.assert_array_equal(to_uint8(np.asarray(codec.decode(latents))), images)
    np.testing.assert_allclose(jax.jit(codec.encode)(images), latents, atol=1e-6)
    np.testing.assert_allclose(jax.jit(codec.decode)(latents), codec.decode(latents), atol=1e-6)


@pytest.mark.parametrize("height, width", [(40, 40), (16, 50), (46, 18), (8, 8)])
def test_tiles_of_something_local_are_the_whole(height, width):
    images = jnp.asarray(blocky(height, width))
    whole, tiled = Latent(Blocks(), {}), Latent(Blocks(), {}, tile=16)
    latents = whole.encode(images)
    np.testing.assert_allclose(tiled.encode(images), latents, atol=1e-5)
    np.testing.assert_allclose(tiled.decode(latents), whole.decode(latents), atol=1e-5)


def test_tiles_are_blended_over_their_overlap():
    class Edges(Blocks):
        """Adds a tile's own mean: what a real autoencoder's norms do."""

        def decode(self, z):
            return super().decode(z) / 4 + z.mean((1, 2), keepdims=True)

    x = jnp.linspace(-0.5, 0.5, 20)[None, None, :, None] * jnp.ones((1, 8, 20, 3))
    image = np.asarray(Latent(Edges(), {}, tile=16).decode(x))
    steps = np.abs(np.diff(image[0, 0, :, 0]))
    # Without blending two tiles would meet at a jump of their means' difference, 0.16 and more.
    assert steps.max() < 0.1


def test_what_an_autoencoder_cannot_take():
    codec = Latent(Blocks(), {})
    with pytest.raises(ValueError, match="multiples of 2, got 7x8"):
        codec.shape((7, 8, 3))
    with pytest.raises(ValueError, match="encodes images"):
        codec.fitted(Toy().load().spec)
    with pytest.raises(ValueError, match="tile must be a multiple of 2 and at least 16 pixels"):
        Latent(Blocks(), {}, tile=6).decode(jnp.zeros((1, 40, 40, 3)))
