"""Embeddings, norms, resampling and attention against closed forms and the libraries' versions."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffax.models.attention import AttentionBlock, SelfAttention, TransformerBlock
from diffax.models.embeddings import FourierEmbedding, sinusoidal_embedding
from diffax.models.normalization import GroupNorm, group_count
from diffax.models.resampling import average_pool, max_pool, upsample_bilinear, upsample_nearest


def pixels(shape=(2, 4, 6, 8), dtype=jnp.float32):
    return jax.random.normal(jax.random.key(0), shape, dtype)


@pytest.mark.parametrize("flip, shift", [(False, 1), (True, 0)])
def test_sinusoidal_embedding_is_the_formula(flip, shift):
    t, half = np.array([0.0, 1.0, 999.0]), 16
    angles = t[:, None] * 10_000.0 ** (-np.arange(half) / (half - shift))
    waves = [np.sin(angles), np.cos(angles)]
    got = sinusoidal_embedding(
        jnp.asarray(t, jnp.bfloat16 if t.max() < 256 else jnp.float32),
        2 * half,
        flip_sin_to_cos=flip,
        freq_shift=shift,
    )
    assert got.dtype == jnp.float32
    # An angle of 999 in float32 is known to 3e-5, and so is its sine.
    np.testing.assert_allclose(got, np.concatenate(waves[::-1] if flip else waves, 1), atol=1.5e-4)


def test_sinusoidal_embedding_pads_odd_sizes_and_refuses_tiny_ones():
    embedding = sinusoidal_embedding(jnp.ones(2), 9)
    assert embedding.shape == (2, 9) and np.all(embedding[:, -1] == 0)
    with pytest.raises(ValueError, match="size >= 4"):
        sinusoidal_embedding(jnp.ones(2), 2)
    with pytest.raises(ValueError, match=r"\[B\]"):
        sinusoidal_embedding(jnp.ones((2, 1)), 8)


@pytest.mark.parametrize("learned", [False, True])
def test_fourier_embedding(learned):
    model, t = FourierEmbedding(8, scale=2.0, learned=learned), jnp.array([0.0, 0.3])
    params = model.init(jax.random.key(0), t)
    frequencies = np.asarray(params["params"]["frequencies"])
    angles = 2 * np.pi * np.asarray(t)[:, None] * frequencies
    np.testing.assert_allclose(
        model.apply(params, t), np.concatenate([np.sin(angles), np.cos(angles)], 1), atol=1e-5
    )
    gradient = jax.grad(lambda p: jnp.sum(model.apply(p, t)))(params)["params"]["frequencies"]
    assert bool(np.any(np.asarray(gradient) != 0)) == learned


@pytest.mark.parametrize(
    "channels, groups", [(128, 32), (96, 24), (48, 12), (32, 8), (34, 2), (3, 1)]
)
def test_groups_have_four_channels_or_more(channels, groups):
    assert group_count(channels) == groups


@pytest.mark.parametrize("channels", [8, 48])
def test_group_norm_is_that_of_linen(channels):
    x = 3 * pixels((2, 4, 6, channels)) + 1
    ours, theirs = GroupNorm(), nn.GroupNorm(group_count(channels), epsilon=1e-6)
    params = jax.tree.map(lambda p: p + 0.3, theirs.init(jax.random.key(0), x))
    assert jax.tree.structure(ours.init(jax.random.key(0), x)) == jax.tree.structure(params)
    np.testing.assert_allclose(ours.apply(params, x), theirs.apply(params, x), atol=3e-5)


def test_group_norm_survives_a_large_mean_and_half_precision():
    x = pixels((1, 8, 8, 32))
    params = GroupNorm(num_groups=4).init(jax.random.key(0), x)
    norm = GroupNorm(num_groups=4)
    # At 3000 float32 keeps x to 1.2e-4; E[x^2] - E[x]^2 would keep nothing of the variance.
    np.testing.assert_allclose(norm.apply(params, x + 3000), norm.apply(params, x), atol=1e-3)
    half = GroupNorm(num_groups=4, dtype=jnp.bfloat16).apply(params, x.astype(jnp.bfloat16))
    assert half.dtype == jnp.bfloat16
    np.testing.assert_allclose(half.astype(jnp.float32), norm.apply(params, x), atol=3e-2)


@pytest.mark.parametrize(
    "ours, method", [(upsample_nearest, "nearest"), (upsample_bilinear, "bilinear")]
)
def test_upsampling_is_that_of_jax_image(ours, method):
    x = pixels((2, 3, 5, 4))
    resized = jax.image.resize(x, (2, 6, 10, 4), method)
    np.testing.assert_allclose(ours(x), resized, atol=1e-6)
    weight = pixels(resized.shape)
    np.testing.assert_allclose(
        jax.grad(lambda x: jnp.sum(weight * ours(x)))(x),
        jax.grad(lambda x: jnp.sum(weight * jax.image.resize(x, resized.shape, method)))(x),
        atol=1e-5,
    )


def test_pooling_is_that_of_linen():
    x = pixels()
    np.testing.assert_allclose(average_pool(x), nn.avg_pool(x, (2, 2), (2, 2)), atol=1e-6)
    np.testing.assert_array_equal(max_pool(x), nn.max_pool(x, (2, 2), (2, 2)))
    np.testing.assert_allclose(average_pool(upsample_nearest(x)), x, atol=1e-6)


@pytest.mark.parametrize("heads", [1, 4])
def test_attention_is_the_formula(heads):
    tokens = pixels((2, 6, 8))
    model = SelfAttention(heads)
    params = model.init(jax.random.key(0), tokens)
    weights = jax.tree.map(lambda p: np.asarray(p, np.float64), params["params"])

    def project(name, x):
        return x @ weights[name]["kernel"] + weights[name]["bias"]

    q, k, v = (
        project(name, np.asarray(tokens, np.float64)).reshape(2, 6, heads, 8 // heads)
        for name in ("query", "key", "value")
    )
    logits = np.einsum("bthd,bshd->bhts", q, k) / np.sqrt(8 / heads)
    attended = np.einsum("bhts,bshd->bthd", np.exp(logits) / np.exp(logits).sum(-1)[..., None], v)
    np.testing.assert_allclose(
        model.apply(params, tokens), project("out", attended.reshape(2, 6, 8)), atol=1e-5
    )


@pytest.mark.parametrize("block", [AttentionBlock, TransformerBlock])
def test_attention_blocks_treat_pixels_alike_and_start_as_identity(block):
    x = pixels()
    model = block(num_heads=2)
    params = model.init(jax.random.key(0), x)
    out = model.apply(params, x)
    assert np.abs(out - x).max() > 1e-2
    # No positions: transposing the picture transposes the result.
    np.testing.assert_allclose(model.apply(params, x.swapaxes(1, 2)), out.swapaxes(1, 2), atol=1e-5)
    silent = block(num_heads=2, out_init=nn.initializers.zeros)
    np.testing.assert_array_equal(silent.apply(silent.init(jax.random.key(0), x), x), x)
    half = block(num_heads=2, dtype=jnp.bfloat16).apply(params, x.astype(jnp.bfloat16))
    assert half.dtype == jnp.bfloat16
    np.testing.assert_allclose(half.astype(jnp.float32), out, atol=6e-2)


def test_heads_that_do_not_divide_are_refused():
    with pytest.raises(ValueError, match="divisible by num_heads"):
        SelfAttention(3).init(jax.random.key(0), pixels((1, 4, 8)))
