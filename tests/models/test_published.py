"""Properties of the published networks that no reference value shows."""

import dataclasses
import json

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffax.models import (
    AutoencoderKL,
    ClassEmbedder,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    UNet2DConditionModel,
    UNet2DModel,
    VQModel,
)
from diffax.models.autoencoder import Codebook
from diffax.models.blocks.style import Style

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
    half = UNET.clone(dtype="bfloat16")
    out, exact = fast(half.apply)(params, *inputs), fast(UNET.apply)(params, *inputs)
    assert out.dtype == jnp.float32
    assert jnp.abs(out - exact).max() < 0.05 * jnp.abs(exact).max()


def test_wrong_number_of_channels(unet):
    params, (x, t, condition) = unet
    with pytest.raises(ValueError, match="expected 4 input channels, got 3: an inpainting model"):
        UNET.apply(params, x[..., :3], t, condition)


SMALL = dict(
    block_out_channels=(8,),
    down_block_types=("DownBlock2D",),
    up_block_types=("UpBlock2D",),
    layers_per_block=1,
    norm_num_groups=4,
    attention_head_dim=None,
)


@pytest.mark.parametrize(
    "model, condition, message",
    [
        (UNet2DModel(**SMALL), {"label": jnp.zeros(1, jnp.int32)}, "reads nothing: pass {}"),
        (UNet2DModel(**SMALL), None, "expected a condition as a dict"),
        (UNet2DModel(**SMALL, num_class_embeds=3), {}, r"condition \['label'\] is missing"),
        (UNET, {}, r"condition \['context'\] is missing"),
        (UNET, {"context": jnp.zeros((1, 5, 6)), "text": 0}, r"\['text'\] is unknown.*context"),
        (UNET, {"context": jnp.zeros((2, 5, 6))}, r"B = 1 as x has, got shape \(2, 5, 6\)"),
    ],
)
def test_conditions_that_a_network_does_not_read(model, condition, message):
    x = jnp.zeros((1, 4, 4, model.in_channels))
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(lambda key: model.init(key, x, jnp.zeros(1), condition), jax.random.key(0))


@pytest.mark.slow
def test_the_label_changes_what_a_network_with_classes_says():
    network = UNet2DModel(**SMALL, num_class_embeds=3)
    x = jax.random.normal(jax.random.key(0), (2, 4, 4, 3))
    label = jnp.array([0, 2])
    params = network.init(jax.random.key(1), x, jnp.zeros(2), {"label": label})
    first = network.apply(params, x, jnp.zeros(2), {"label": label})
    other = network.apply(params, x, jnp.zeros(2), {"label": jnp.array([0, 1])})
    assert first.shape == x.shape
    np.testing.assert_array_equal(first[0], other[0])
    assert np.abs(first[1] - other[1]).max() > 1e-3


def test_what_is_read_follows_from_the_fields():
    features = ("features_0", "features_1", "features_2")  # of the levels and the middle
    assert UNET.reads == ("context", "channels", *features)
    xl = UNET.clone(
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=64,
    )
    assert xl.reads == ("context", "pooled", "size_ids", "channels", *features)
    distilled = UNET.clone(time_cond_proj_dim=8, num_class_embeds=3)
    assert distilled.reads == ("context", "label", "guidance", "channels", *features)
    prompted = UNET.clone(image_prompt=True)
    assert prompted.reads == ("context", "image_prompt", "image_scale", "channels", *features)
    assert UNet2DModel(**SMALL).reads == ()
    assert UNet2DModel(**SMALL, class_embed_type="timestep").reads == ("label",)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: UNET.clone(layers_per_block=10**9), "layers_per_block: expected whole.*128, got"),
        (lambda: UNET.clone(attention_head_dim=0), "attention_head_dim: expected whole.*got 0"),
        (lambda: UNET.clone(attention_head_dim=(2, 4, 8)), "one for each of 2 levels, got 3"),
        (lambda: UNET.clone(transformer_layers_per_block=(1, 10**6)), "from 1 to 128, got"),
        (lambda: UNET.clone(transformer_layers_per_block=128, layers_per_block=128), "2,048"),
        (lambda: UNET.clone(transformer_layers_per_block=((1, 2), 1)), "1 layers, got 2"),
        (lambda: UNET.clone(block_out_channels=(8,)), "equally many entries.*got 1, 2, 2"),
        (lambda: UNET.clone(norm_eps=float("nan")), "norm_eps: expected a finite number"),
        (lambda: UNET.clone(dropout=1.5), "dropout: expected a finite number from 0 to 1, got 1.5"),
        (lambda: UNET.clone(dtype=jnp.bfloat16), "dtype: expected one of float32, bfloat16"),
        (lambda: UNET.clone(mid_block_type="Mid"), "one of None, UNetMidBlock2DCrossAttn"),
        (lambda: UNET.clone(addition_embed_type="text_time"), "needs addition_time_embed_dim"),
        (lambda: UNet2DModel(down_block_types=("Down",) * 4), "one of DownBlock2D"),
        (lambda: UNet2DModel(norm_num_groups=None), "norm_num_groups: expected whole"),
        (lambda: AutoencoderKL(block_out_channels=(64,) * 2000), "from 1 to 12; got 2000, 1, 1"),
        (lambda: VQModel(num_vq_embeddings=2**31), "num_vq_embeddings: expected whole"),
        (lambda: CLIPTextModel(num_hidden_layers=10**9), "num_hidden_layers: expected whole"),
        (lambda: CLIPTextModel(hidden_act="relu"), "one of quick_gelu, gelu"),
        (lambda: ClassEmbedder(n_classes=True), "n_classes: expected whole numbers from 2"),
    ],
)
def test_fields_are_checked_before_anything_is_built(make, message):
    with pytest.raises(ValueError, match=message) as error:
        make()
    assert "\n" not in str(error.value) and len(str(error.value)) < 200


@pytest.mark.parametrize(
    "cls",
    [
        AutoencoderKL,
        CLIPTextModel,
        CLIPTextModelWithProjection,
        ClassEmbedder,
        UNet2DConditionModel,
        UNet2DModel,
        VQModel,
    ],
)
def test_fields_are_plain_data(cls):
    model = cls(dtype="bfloat16", param_dtype="bfloat16")
    names = {f.name for f in dataclasses.fields(model)} - {"parent", "name"}
    record = json.loads(json.dumps({name: getattr(model, name) for name in names}))
    again = cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in record.items()})
    assert again == model and hash(again) == hash(model)


def test_half_precision_parameters():
    model = UNet2DModel(**SMALL, dtype="bfloat16", param_dtype="bfloat16")
    x = jnp.zeros((1, 4, 4, 3))
    shapes = jax.eval_shape(model.init, jax.random.key(0), x, jnp.zeros(1))
    assert {leaf.dtype for leaf in jax.tree.leaves(shapes)} == {jnp.dtype("bfloat16")}


@pytest.mark.parametrize("shift, groups", [("default", 4), ("scale_shift", None)])
def test_where_the_middle_attention_has_a_norm(shift, groups):
    def middle(**fields):
        model = UNet2DModel(**SMALL | {"resnet_time_scale_shift": shift} | fields)
        x = jnp.zeros((1, 4, 4, 3))
        params = jax.eval_shape(model.init, jax.random.key(0), x, jnp.zeros(1))["params"]
        return "group_norm" in params["mid_block"]["attentions_0"]

    assert middle() == (groups is not None)
    assert middle(attn_norm_num_groups=2)


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
    # The end token's place; compiled in two ways.
    np.testing.assert_allclose(out.pooled, out.last[:, 3], rtol=1e-6)
    changed = apply(params, ids.at[0, 4].set(7), 0)
    np.testing.assert_allclose(changed.last[:, :4], out.last[:, :4], atol=1e-6)
    assert jnp.abs(changed.last[:, 4] - out.last[:, 4]).max() > 1e-3


def test_scale_and_unscale_are_inverse():
    z = draw("z", 1, 2, 2, 4)
    for model in (AutoencoderKL(scaling_factor=0.3, shift_factor=0.1), VQModel(scaling_factor=2)):
        np.testing.assert_allclose(model.unscale(model.scale(z)), z, rtol=1e-5)


def test_quantization_takes_the_nearest_code_and_passes_gradients():
    model, z = Codebook(Style(), 5, 2), draw("latents", 1, 4, 4, 2)
    params = drawn(model, z)
    book = np.asarray(params["params"]["embedding"]["embedding"])

    def quantize(z):
        return model.apply(params, z)

    distances = np.sum((np.asarray(z)[..., None, :] - book) ** 2, axis=-1)
    np.testing.assert_allclose(quantize(z), book[np.argmin(distances, -1)], atol=1e-6)
    np.testing.assert_allclose(jax.grad(lambda z: quantize(z).sum())(z), 1.0)
