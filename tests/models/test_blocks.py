"""Embeddings, norms, resampling and transformers against closed forms and libraries."""

import flax
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffax.models.blocks.convolution import Conv
from diffax.models.blocks.embeddings import (
    FourierEmbedding,
    TimestepEmbedding,
    grid_embedding,
    guidance_embedding,
    pixel_waves,
    sinusoidal_embedding,
)
from diffax.models.blocks.linear import Dense
from diffax.models.blocks.normalization import GroupNorm, group_count
from diffax.models.blocks.resampling import (
    Upsample,
    average_pool,
    filter_down,
    filter_up,
    max_pool,
    upsample_aligned,
    upsample_bilinear,
    upsample_nearest,
)
from diffax.models.blocks.style import Style
from diffax.models.blocks.transformer import SpatialTransformer, TutorialBlock


def pixels(shape=(2, 4, 6, 8), dtype=jnp.float32):
    return jax.random.normal(jax.random.key(0), shape, dtype)


def quick_jit(f):
    """Compile for a single run on tiny shapes."""
    return jax.jit(f, compiler_options={"xla_backend_optimization_level": 0})


def test_biases_begin_within_the_fan_in_where_that_is_the_style():
    x, key = jnp.ones((1, 4, 4, 16)), jax.random.key(0)
    for asked in (True, False):
        style = Style(fan_in_bias=asked)
        for layer, bound in ((style.dense, 1 / 4), (style.conv, 1 / 12)):
            most = bound if asked else 0
            bias = layer(64, "layer").init(key, x)["params"]["bias"]
            assert 0.8 * most <= jnp.abs(bias).max() <= most
            zeros = layer(64, "layer", kernel_init=nn.initializers.zeros)
            assert not zeros.init(key, x)["params"]["bias"].any()


def test_a_linear_map_is_the_same_wherever_its_bias_begins():
    x = pixels()
    ours, flax = (Style(fan_in_bias=asked).dense(3, "map") for asked in (True, False))
    params = ours.init(jax.random.key(1), x)
    np.testing.assert_allclose(ours.apply(params, x), flax.apply(params, x), rtol=1e-6)
    half = Style(fan_in_bias=True, dtype="bfloat16").dense(3, "map")
    assert half.apply(params, x).dtype == jnp.bfloat16


@pytest.mark.parametrize("flip, shift", [(False, 1), (True, 0)])
def test_sinusoidal_embedding_is_the_formula(flip, shift):
    t, half = np.array([0.0, 1.0, 999.0]), 16
    angles = t[:, None] * 10_000.0 ** (-np.arange(half) / (half - shift))
    waves = [np.sin(angles), np.cos(angles)]
    got = sinusoidal_embedding(
        jnp.asarray(t, jnp.float32), 2 * half, flip_sin_to_cos=flip, freq_shift=shift
    )
    assert got.dtype == jnp.float32
    # An angle of 999 in float32 is known to 3e-5, and so is its sine.
    np.testing.assert_allclose(got, np.concatenate(waves[::-1] if flip else waves, 1), atol=5e-5)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.int32])
def test_times_of_any_dtype_are_embedded_in_float32(dtype):
    t = np.array([0.0, 3.0, 200.0, 992.0])  # bfloat16 has these exactly
    got = sinusoidal_embedding(jnp.asarray(t, dtype), 32)
    assert got.dtype == jnp.float32
    # Sines of bfloat16 angles would be off by up to 1, for 992 is known to 4 there.
    np.testing.assert_array_equal(got, sinusoidal_embedding(jnp.asarray(t, jnp.float32), 32))


def test_a_cell_of_a_grid_is_told_its_column_then_its_row():
    got = grid_embedding(2, 3, 16).reshape(2, 3, 16)
    angles = np.arange(3)[:, None] * 10_000.0 ** (-np.arange(4) / 4)
    place = np.concatenate([np.sin(angles), np.cos(angles)], axis=1)
    for row in range(2):
        for column in range(3):
            expected = np.concatenate([place[column], place[row]])
            np.testing.assert_allclose(got[row, column], expected, atol=1e-6)
    with pytest.raises(ValueError, match="multiple of 4 from 8 on as size, got 14"):
        grid_embedding(2, 2, 14)


def test_guidance_embedding_is_the_embedding_of_a_thousandfold():
    w = jnp.array([0.0, 0.5, 7.5])
    angles = 1000 * np.asarray(w, np.float64)[:, None] * 10_000.0 ** -(np.arange(8) / 7)
    expected = np.concatenate([np.sin(angles), np.cos(angles)], 1)
    # An angle of 7500 in float32 is known to 5e-4.
    np.testing.assert_allclose(guidance_embedding(w, 16), expected, atol=1e-3)


def test_a_condition_of_a_time_embedding_is_added_at_its_input():
    x, told = pixels((2, 6)), 3 * pixels((2, 4))
    model = TimestepEmbedding(Style(), 5, condition_size=4)
    params = model.init(jax.random.key(0), x)
    shifted = x + told @ params["params"]["cond_proj"]["kernel"]
    np.testing.assert_allclose(
        model.apply(params, x, told), model.apply(params, shifted), atol=1e-5
    )
    silent = model.apply(params, x, jnp.zeros((2, 4)))
    np.testing.assert_array_equal(model.apply(params, x), silent)


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


def test_upsampling_to_an_odd_size():
    x = pixels((1, 2, 3, 4))
    layer = Upsample(Style())
    kernel = jnp.zeros((3, 3, 4, 4)).at[1, 1].set(jnp.eye(4))
    params = {"params": {"conv": {"kernel": kernel, "bias": jnp.zeros(4)}}}
    expected = np.repeat(np.repeat(x, 2, axis=1), 2, axis=2)
    np.testing.assert_allclose(layer.apply(params, x, (3, 5)), expected[:, :3, :5])
    np.testing.assert_allclose(layer.apply(params, x), expected)


@pytest.mark.parametrize("block", [SpatialTransformer, TutorialBlock])
def test_transformers_treat_pixels_alike_and_start_as_their_out_init_says(block):
    x = pixels((2, 2, 3, 8))
    told = (pixels((2, 5, 6)),) if block is SpatialTransformer else ()
    model = block(Style(), 2)
    draw = np.random.default_rng(0).standard_normal
    params = jax.tree.map(
        lambda p: jnp.asarray(draw(p.shape) * p.shape[0] ** -0.5, p.dtype),
        jax.eval_shape(model.init, jax.random.key(0), x, *told),
    )

    @quick_jit
    def run(params, x, *told):
        """The result, that of the pixels in another order, and in half precision."""
        half = block(Style(dtype="bfloat16"), 2).apply(params, x.astype(jnp.bfloat16), *told)
        return model.apply(params, x, *told), model.apply(params, x[:, ::-1], *told), half

    out, turned, half = run(params, x, *told)
    assert np.abs(out - x).max() > 1e-2
    np.testing.assert_allclose(turned, out[:, ::-1], atol=1e-5)
    assert half.dtype == jnp.bfloat16
    np.testing.assert_allclose(half.astype(jnp.float32), out, atol=0.1)
    silent = block(Style(out_init=nn.initializers.zeros), 2)
    same, _ = quick_jit(silent.init_with_output)(jax.random.key(0), x, *told)
    np.testing.assert_array_equal(same, x)


def test_groups_that_do_not_divide_are_refused():
    with pytest.raises(ValueError, match="8 channels and 3 groups"):
        GroupNorm(3).init(jax.random.key(0), pixels())


@pytest.mark.parametrize(
    "taps", [(1, 1), (1, 3, 3, 1), pytest.param((1, 5, 10, 10, 5, 1), marks=pytest.mark.slow)]
)
def test_filters_are_convolutions_with_zeros_between_and_each_other_s_transpose(taps):
    x = pixels((2, 8, 12, 3))
    kernel = np.outer(taps, taps) / sum(taps) ** 2
    kernel = jnp.asarray(kernel, jnp.float32)[:, :, None, None] * jnp.eye(3)[None, None, :, :]
    pad = len(taps) // 2 - 1
    down = jax.lax.conv_general_dilated(
        x, kernel, (2, 2), [(pad, pad)] * 2, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    np.testing.assert_allclose(filter_down(x, taps), down, atol=1e-6)
    # <down x, y> = <x, up y> / 4, and a constant stays one, away from the border.
    y = pixels(down.shape)
    inner = float(jnp.sum(x * filter_up(y, taps))) / 4
    np.testing.assert_allclose(jnp.sum(down * y), inner, rtol=1e-4)
    ones = jnp.ones((1, 8, 8, 1))
    np.testing.assert_allclose(filter_down(ones, taps)[:, 1:-1, 1:-1], 1, atol=1e-6)
    np.testing.assert_allclose(filter_up(ones, taps)[:, 4:-4, 4:-4], 1, atol=1e-6)
    if pad:
        wide = filter_down(jnp.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0))), taps, padding=0)
        np.testing.assert_allclose(wide, down, atol=1e-6)


def test_aligned_upsampling_keeps_the_corners_and_is_linear_between():
    x = pixels((2, 3, 4, 2))
    out = upsample_aligned(x)
    assert out.shape == (2, 6, 8, 2)
    for corner in ((0, 0), (0, -1), (-1, 0), (-1, -1)):
        np.testing.assert_allclose(out[:, *corner], x[:, *corner], rtol=1e-6)
    place = np.linspace(0, 2, 6)
    for column, old in ((0, 0), (7, 3)):
        expected = np.interp(place, np.arange(3), np.asarray(x)[1, :, old, 1])
        np.testing.assert_allclose(out[1, :, column, 1], expected, atol=1e-6)


def test_waves_of_pixels_are_the_formula():
    x = jnp.array([[0.25, -1.0]])
    assert pixel_waves(x, ()) is x
    got = np.asarray(pixel_waves(x, (0, 1)))
    angles = np.concatenate([np.pi * x, 2 * np.pi * x], axis=-1)
    np.testing.assert_allclose(
        got, np.concatenate([x, np.sin(angles), np.cos(angles)], -1), atol=1e-6
    )


def test_of_equal_pixels_one_gets_the_gradient_of_their_maximum():
    gradient = jax.grad(lambda x: jnp.sum(max_pool(x)))
    np.testing.assert_array_equal(gradient(jnp.ones((1, 2, 4, 1))).sum(axis=(1, 2, 3)), 2)
    assert set(np.unique(gradient(jnp.ones((1, 2, 4, 1))))) == {0.0, 1.0}
    x = pixels((1, 4, 4, 3))
    largest = x == np.repeat(np.repeat(max_pool(x), 2, axis=1), 2, axis=2)
    np.testing.assert_array_equal(gradient(x), largest.astype(np.float32))


def test_a_linear_map_is_that_of_linen():
    x = jax.random.normal(jax.random.key(0), (2, 5, 3))
    ours, theirs = Dense(4), nn.Dense(4)
    params = ours.init(jax.random.key(1), x)
    # The same names, shapes and draws; and the same products.
    jax.tree.map(np.testing.assert_array_equal, params, theirs.init(jax.random.key(1), x))
    params = jax.tree.map(lambda leaf: leaf + 0.5, params)
    np.testing.assert_array_equal(ours.apply(params, x), theirs.apply(params, x))


@pytest.mark.parametrize("layer", [Dense(4), Conv(4), GroupNorm()])
def test_parameters_of_another_width_are_refused(layer):
    x = jnp.ones((1, 4, 4, 8))
    params = layer.init(jax.random.key(0), x)
    with pytest.raises(
        ValueError, match=r"(kernel|scale): expected a parameter of shape .* got .*; give"
    ):
        layer.apply(params, jnp.ones((1, 4, 4, 16)))
    with pytest.raises(flax.errors.ScopeCollectionNotFound, match='access "(kernel|scale)"'):
        layer.apply({"params": {}}, x)
