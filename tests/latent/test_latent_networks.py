"""Properties of the published networks that no reference value shows."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffax.models.latent import (
    AutoencoderKL,
    CLIPTextModel,
    UNet2DConditionModel,
    UNet2DModel,
    VQModel,
)
from diffax.models.latent.attention import attend
from diffax.models.latent.autoencoder import _Codebook
from diffax.models.latent.residual import Style, Upsample

UNET = UNet2DConditionModel(
    block_out_channels=(8, 16),
    down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
    up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
    layers_per_block=1,
    cross_attention_dim=6,
    attention_head_dim=2,
    norm_num_groups=4,
    dropout=0.5,
)


def draw(name, *shape):
    return jnp.asarray(np.random.RandomState(len(name)).standard_normal(shape), jnp.float32)


def drawn(module, *inputs):
    """Random parameters without compiling the module's `init`."""
    shapes = jax.eval_shape(module.init, jax.random.key(0), *inputs)
    numbers = np.random.RandomState(0)
    return jax.tree.map(
        lambda s: jnp.asarray(0.3 * numbers.standard_normal(s.shape), s.dtype), shapes
    )


def fast(f, **options):
    """`jax.jit` that compiles fast."""
    return jax.jit(f, compiler_options={"xla_backend_optimization_level": 0}, **options)


@pytest.fixture(scope="module")
def unet():
    x, t = draw("x", 2, 8, 8, 4), jnp.array([1.0, 900.0])
    condition = {"context": draw("context", 2, 5, 6)}
    return drawn(UNET, x, t, condition), (x, t, condition)


def softmax_attention(q, k, v, causal=False):
    """The definition, in float64."""
    q, k, v = (np.asarray(a, np.float64) for a in (q, k, v))
    scores = np.einsum("bnhd,bmhd->bhnm", q, k) / np.sqrt(q.shape[-1])
    if causal:
        scores = np.where(np.tril(np.ones(scores.shape[-2:], bool)), scores, -np.inf)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    return np.einsum("bhnm,bmhd->bnhd", weights, v)


@pytest.mark.parametrize("chunk", [None, 1, 3, 5, 12, 100])
def test_attention_in_slices_is_attention(chunk):
    q, k, v = draw("q", 2, 12, 3, 4), draw("key", 2, 7, 3, 4), draw("value", 2, 7, 3, 4)
    out = attend(q, k, v, query_chunk=chunk)
    np.testing.assert_allclose(out, softmax_attention(q, k, v), atol=1e-6)


def test_causal_attention():
    q, k, v = draw("q", 2, 6, 3, 4), draw("key", 2, 6, 3, 4), draw("value", 2, 6, 3, 4)
    out = attend(q, k, v, causal=True)
    np.testing.assert_allclose(out, softmax_attention(q, k, v, causal=True), atol=1e-6)


def test_scores_beyond_half_precision_stay_finite():
    # 300 * 300 * 8 overflows float16, and bfloat16's 8 bits could not tell the scores apart.
    q = jnp.full((1, 2, 1, 8), 300.0, jnp.float16)
    v = draw("value", 1, 2, 1, 8).astype(jnp.float16)
    out = attend(q, q, v)
    assert out.dtype == jnp.float16
    np.testing.assert_allclose(out[0, 0], v.mean(axis=1)[0], atol=1e-3)


def test_upsampling_to_an_odd_size():
    x = draw("x", 1, 2, 3, 4)
    layer = Upsample(Style(groups=1))
    params = {"params": {"conv": {"kernel": jnp.zeros((3, 3, 4, 4)).at[1, 1].set(jnp.eye(4))}}}
    params["params"]["conv"]["bias"] = jnp.zeros(4)
    expected = np.repeat(np.repeat(x, 2, axis=1), 2, axis=2)
    np.testing.assert_allclose(layer.apply(params, x, (3, 5)), expected[:, :3, :5])
    np.testing.assert_allclose(layer.apply(params, x), expected)


@pytest.mark.slow
def test_remat_changes_memory_and_not_gradients(unet):
    params, (x, t, condition) = unet

    def gradient(module):
        def loss(p):
            return jnp.sum(module.apply(p, x, t, condition) ** 2)

        return fast(jax.grad(loss))(params)

    plain, again = gradient(UNET), gradient(UNET.clone(remat=True))
    scale = max(float(jnp.abs(g).max()) for g in jax.tree.leaves(plain))
    for a, b in zip(jax.tree.leaves(plain), jax.tree.leaves(again), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5 * scale)


@pytest.mark.slow
def test_dropout_acts_in_training_only(unet):
    params, inputs = unet
    apply = fast(UNET.apply, static_argnames="train")
    keys = {"dropout": jax.random.key(1)}
    np.testing.assert_array_equal(apply(params, *inputs), apply(params, *inputs, rngs=keys))
    assert jnp.abs(apply(params, *inputs) - apply(params, *inputs, train=True, rngs=keys)).max() > 0


@pytest.mark.slow
def test_bfloat16_is_close_and_comes_back_as_float32(unet):
    params, inputs = unet
    half = UNET.clone(dtype=jnp.bfloat16)
    out, exact = fast(half.apply)(params, *inputs), fast(UNET.apply)(params, *inputs)
    assert out.dtype == jnp.float32
    assert jnp.abs(out - exact).max() < 0.05 * jnp.abs(exact).max()


def test_wrong_number_of_channels(unet):
    params, (x, t, condition) = unet
    with pytest.raises(ValueError, match="expected 4 input channels, got 3: an inpainting model"):
        UNET.apply(params, x[..., :3], t, condition)


def test_labels_where_there_are_no_classes():
    model = UNet2DModel(
        block_out_channels=(8,),
        down_block_types=("DownBlock2D",),
        up_block_types=("UpBlock2D",),
        layers_per_block=1,
        norm_num_groups=4,
        attention_head_dim=None,
    )
    with pytest.raises(ValueError, match="this network has no classes"):
        jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 4, 4, 3)), jnp.zeros(1), 3)


def test_too_many_tokens():
    model = CLIPTextModel(max_position_embeddings=8)
    with pytest.raises(ValueError, match="at most 8 tokens, got 9"):
        jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 9), jnp.int32))


def test_clip_skip_and_causality():
    model = CLIPTextModel(
        vocab_size=30,
        hidden_size=8,
        intermediate_size=16,
        num_hidden_layers=3,
        num_attention_heads=2,
        max_position_embeddings=6,
        eos_token_id=29,
    )
    ids = jnp.array([[1, 2, 3, 29, 0, 0]])
    params = drawn(model, ids)
    apply = fast(model.apply, static_argnums=2)
    out, skipped = apply(params, ids, 0), apply(params, ids, 1)
    norm = nn.LayerNorm(epsilon=1e-5, use_fast_variance=False)
    weights = {"params": params["params"]["text_model"]["final_layer_norm"]}
    np.testing.assert_allclose(out.last, norm.apply(weights, out.hidden[-1]), atol=1e-6)
    np.testing.assert_allclose(skipped.last, norm.apply(weights, out.hidden[-2]), atol=1e-6)
    np.testing.assert_array_equal(out.pooled, out.last[:, 3])  # the end token's place
    changed = apply(params, ids.at[0, 4].set(7), 0)
    np.testing.assert_allclose(changed.last[:, :4], out.last[:, :4], atol=1e-6)
    assert jnp.abs(changed.last[:, 4] - out.last[:, 4]).max() > 1e-3


def test_scale_and_unscale_are_inverse():
    z = draw("z", 1, 2, 2, 4)
    for model in (AutoencoderKL(scaling_factor=0.3, shift_factor=0.1), VQModel(scaling_factor=2)):
        np.testing.assert_allclose(model.unscale(model.scale(z)), z, rtol=1e-5)


def test_quantization_takes_the_nearest_code_and_passes_gradients():
    model, z = _Codebook(5, 2, jnp.float32), draw("latents", 1, 4, 4, 2)
    params = drawn(model, z)
    book = np.asarray(params["params"]["embedding"]["embedding"])

    def quantize(z):
        return model.apply(params, z)

    distances = np.sum((np.asarray(z)[..., None, :] - book) ** 2, axis=-1)
    np.testing.assert_allclose(quantize(z), book[np.argmin(distances, -1)], atol=1e-6)
    np.testing.assert_allclose(jax.grad(lambda z: quantize(z).sum())(z), 1.0)
