"""Images as the codes of an autoencoder."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffax.codecs import Codes, Latent
from diffax.data import Column, Spec
from diffax.models import AutoencoderKL, VQModel

IMAGES = Spec({"x": Column((8, 8, 3), "uint8")}, size=4)
SHAPE = dict(
    block_out_channels=(4, 4),
    down_block_types=("DownEncoderBlock2D",) * 2,
    up_block_types=("UpDecoderBlock2D",) * 2,
    latent_channels=2,
    norm_num_groups=2,
    mid_block_add_attention=False,
)
MODULE = VQModel(num_vq_embeddings=8, **SHAPE)


@pytest.fixture(scope="module")
def codec():
    shapes = jax.eval_shape(MODULE.init, jax.random.key(0), jnp.zeros((1, 8, 8, 3)))
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape), "float32"), shapes)
    return Codes(Latent(MODULE, params)).fitted(IMAGES)


def test_an_image_is_the_numbers_of_its_codes(codec):
    images = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3)).astype(np.uint8)
    ids = codec.encode(images)
    assert codec.shape((8, 8, 3)) == (4, 4, 1) and ids.shape == (3, 4, 4, 1)
    assert ids.dtype == jnp.int32 and len(np.unique(ids)) > 1 and codec.size == 8
    # What is decoded is what the autoencoder makes of its own quantized latents.
    latents = codec.latent.encode(images)
    expected = codec.latent.decode(latents)
    np.testing.assert_allclose(codec.decode(ids), expected, atol=1e-5)


def test_masks_are_shown_as_some_code(codec):
    masked = codec.decode(jnp.full((1, 4, 4, 1), codec.size))
    each = codec.decode(jnp.broadcast_to(jnp.arange(8)[:, None, None, None], (8, 4, 4, 1)))
    assert np.abs(each - masked).max(axis=(1, 2, 3)).min() < 1e-5


def test_tiles_are_the_latents_own(codec):
    tiled = codec.tiled(16)
    assert tiled.latent.tile == 16 and tiled.size == codec.size
    ids = np.random.default_rng(1).integers(0, 8, (1, 8, 12, 1))  # of 16x24 pixels
    known = codec.latent.module.scale(codec.book[ids[..., 0]])
    expected = codec.latent.tiled(16).decode(known)
    np.testing.assert_allclose(tiled.decode(ids), expected, atol=1e-5)
    with pytest.raises(ValueError, match="tile must be a multiple of 2 and at least 16 pixels"):
        codec.tiled(9)


def test_other_parameters_are_other_codes(codec):
    moved = jax.tree.map(lambda leaf: leaf + 1, codec.params)
    other = codec.with_params(moved)
    np.testing.assert_allclose(other.book, codec.book + 1)
    assert other.factor == 2


def test_what_has_no_codes_is_refused(codec):
    plain = Codes(Latent(AutoencoderKL(**SHAPE), {}))
    with pytest.raises(ValueError, match="AutoencoderKL has no codebook: train a vq_model"):
        plain.fitted(IMAGES)
    with pytest.raises(ValueError, match="an autoencoder encodes images"):
        codec.fitted(dataclasses.replace(IMAGES, columns={"x": Column((6,), "int32")}))
