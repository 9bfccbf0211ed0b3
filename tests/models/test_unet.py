"""The U-Net: the published parameter count, shapes, options, faults."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from networks import quick_jit, shapes, trained

from diffax.models import UNet, UNet2DModel, parameter_count
from diffax.models.blocks.resampling import fold, unfold
from diffax.models.blocks.transformer import SpatialTransformer

SMALL = {"channels": 8, "multipliers": (1, 2), "num_res_blocks": 1, "attention_resolutions": (4,)}


def test_ddpm_cifar10_has_the_published_number_of_parameters():
    assert parameter_count(shapes(UNet(dropout=0.1), (32, 32, 3))) == 35_746_307


def test_iddpm_and_learned_variance_have_the_expected_shapes():
    model = UNet(scale_shift_norm=True, learned_variance=True, num_heads=4, num_res_blocks=3)
    params = shapes(model, (32, 32, 3))["params"]
    assert params["conv_out"]["kernel"].shape == (3, 3, 128, 6)
    assert params["down_blocks_1"]["resnets_0"]["time_emb_proj"]["kernel"].shape == (512, 512)
    assert shapes(UNet(**SMALL, out_channels=5))["params"]["conv_out"]["bias"].shape == (5,)


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(
            {"num_classes": 3, "dropout": 0.5, "upsample": "bilinear", "attention": "tutorial"},
            marks=pytest.mark.slow,
        ),
        {
            "downsample": "average",
            "scale_shift_norm": True,
            "learned_variance": True,
            "head_size": 8,
            "flip_sin_to_cos": True,
            "freq_shift": 0.0,
        },
    ],
    ids=["tutorial", "iddpm"],
)
def test_every_parameter_has_a_gradient_and_the_output_is_float32(options):
    """On a non-square image; where a label table is, only the rows that were asked for."""
    model = UNet(**SMALL, **options)
    x = jax.random.normal(jax.random.key(0), (2, 8, 12, 3))
    t = jnp.array([1.0, 700.0])
    # 3 is the null label.
    condition = {"label": jnp.array([1, 3])} if model.num_classes else {}
    params = trained(model, x.shape[1:])

    @quick_jit
    def run(params):
        def loss(params):
            rngs = {"dropout": jax.random.key(2)}
            out = model.apply(params, x, t, condition, train=True, rngs=rngs)
            return jnp.mean(out**2), out

        return jax.grad(loss, has_aux=True)(params)

    gradient, out = run(params)
    assert out.shape == (2, 8, 12, 6 if model.learned_variance else 3)
    assert out.dtype == jnp.float32
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype(jnp.float32)}
    for path, leaf in jax.tree.leaves_with_path(gradient):
        # A key's bias shifts all logits of a query alike, which the softmax ignores.
        if "to_k" not in jax.tree_util.keystr(path) or leaf.ndim > 1:
            assert float(jnp.abs(leaf).max()) > 0, path
    if model.num_classes:
        rows = np.abs(gradient["params"]["class_embedding"]["embedding"]).max(axis=1) > 0
        np.testing.assert_array_equal(rows, [False, True, False, True])


def test_the_output_depends_on_time_label_and_every_example_only_on_itself():
    model = UNet(**SMALL, num_classes=3, downsample="max")
    x = jax.random.normal(jax.random.key(0), (3, 8, 8, 1))
    t, label = jnp.array([5.0, 5.0, 5.0]), jnp.array([0, 1, 3])
    params = trained(model)
    network = quick_jit(model.apply)

    def apply(params, x, t, label=None):
        return network(params, x, t, {} if label is None else {"label": label})

    out = apply(params, x, t, label)

    def differs(other):
        return [bool(np.abs(a - b).max() > 1e-3) for a, b in zip(out, other, strict=True)]

    assert differs(apply(params, x, jnp.array([5.0, 6.0, 900.0]), label)) == [False, True, True]
    assert differs(apply(params, x, t, jnp.array([0, 2, 3]))) == [False, True, False]
    assert differs(apply(params, x.at[0].add(1.0), t, label)) == [True, False, False]
    # No condition is the null label for all.
    np.testing.assert_array_equal(apply(params, x, t), apply(params, x, t, jnp.full(3, 3)))


def test_it_starts_by_predicting_nothing():
    model = UNet(channels=8, multipliers=(1,), num_res_blocks=1, attention_resolutions=())
    x, t = jax.random.normal(jax.random.key(0), (2, 4, 4, 1)), jnp.zeros(2)
    out, params = quick_jit(lambda: model.init_with_output(jax.random.key(1), x, t))()
    assert 0 < float(jnp.abs(out).max()) < 1e-3
    block = params["params"]["mid_block"]["resnets_0"]
    assert 0 < float(jnp.abs(block["conv2"]["kernel"]).max()) < 1e-3
    # Uniform of variance 2 / (fan_in + fan_out) = 1 / 72 for 3 x 3 kernels from 8 to 8.
    kernel = block["conv1"]["kernel"]
    assert float(jnp.abs(kernel).max()) <= (3 / 72) ** 0.5
    np.testing.assert_allclose(72 * kernel.var(), 1, atol=0.15)


@pytest.mark.slow
def test_bfloat16_remat_and_time_scale_agree_with_plain_float32():
    tiny = {"channels": 8, "multipliers": (1,), "num_res_blocks": 1, "attention_resolutions": (4,)}
    x = jax.random.normal(jax.random.key(0), (2, 4, 4, 1))
    t = jnp.array([3.0, 640.0])
    plain = UNet(**tiny)
    params = trained(plain, x.shape[1:])

    def value_and_gradient(model, t=t):
        def loss(params):
            return jnp.mean((model.apply(params, x, t) - 1) ** 2)

        leaves = jax.tree.leaves(quick_jit(jax.value_and_grad(loss))(params))
        return jnp.concatenate([leaf.ravel() for leaf in leaves])

    exact = value_and_gradient(plain)

    def error(model, t=t):
        return jnp.linalg.norm(value_and_gradient(model, t) - exact) / jnp.linalg.norm(exact)

    assert error(UNet(**tiny, remat=True, time_scale=1000.0), t / 1000) < 1e-4
    # 8 bits through some 20 layers; and half precision it was.
    assert 1e-4 < error(UNet(**tiny, dtype="bfloat16")) < 5e-2


def test_attention_sits_where_the_map_has_the_resolution():
    def attending(params):
        return sorted(
            f"{block} {layer}" for block in params for layer in params[block] if "att" in layer
        )

    assert attending(shapes(UNet(dropout=0.1), (32, 32, 3))["params"]) == sorted(
        ["down_blocks_1 attentions_0", "down_blocks_1 attentions_1", "mid_block attentions_0"]
        + [f"up_blocks_2 attentions_{i}" for i in range(3)]
    )
    # Not square: where either side has it.
    oblong = shapes(UNet(**SMALL), (4, 8, 1))["params"]
    assert "down_blocks_0 attentions_0" in attending(oblong)


def test_ddpm_is_the_published_network_under_the_same_names():
    """google/ddpm-cifar10-32 could be loaded into it: parameters, and what they do."""
    fields = dict(
        flip_sin_to_cos=False,
        freq_shift=1,
        norm_eps=1e-6,
        downsample_padding=0,
        attention_head_dim=None,
    )
    published = UNet2DModel(
        block_out_channels=(128, 256, 256, 256),
        down_block_types=("DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
        **fields,
    )
    assert shapes(published, (32, 32, 3)) == shapes(UNet(), (32, 32, 3))

    # At 128 channels and more both have 32 groups, whatever is joined.
    ours = UNet(multipliers=(1,), num_res_blocks=1, attention_resolutions=())
    theirs = UNet2DModel(
        block_out_channels=(128,),
        down_block_types=("DownBlock2D",),
        up_block_types=("UpBlock2D",),
        layers_per_block=1,
        **fields,
    )
    x, t = jax.random.normal(jax.random.key(0), (1, 4, 4, 3)), jnp.array([700.0])
    params = trained(ours, x.shape[1:])
    a, b = quick_jit(lambda p: (ours.apply(p, x, t), theirs.apply(p, x, t)))(params)
    np.testing.assert_allclose(a, b, atol=1e-5 * float(jnp.abs(b).max()))


TOLD = {"context": jnp.ones((2, 5, 6)), "embedding": jnp.ones((2, 7))}


def test_a_context_and_an_embedding_reach_their_own_example_and_every_parameter():
    tiny = {"channels": 8, "multipliers": (1,), "num_res_blocks": 1, "attention_resolutions": ()}
    model = UNet(**tiny, context_size=6, embedding_size=7)
    assert model.reads == ("context", "embedding")
    x, t = jax.random.normal(jax.random.key(0), (2, 4, 4, 1)), jnp.array([5.0, 700.0])
    params = trained(model, x.shape[1:], TOLD)
    draw = np.random.default_rng(1).standard_normal
    told = {name: jnp.asarray(draw(value.shape), jnp.float32) for name, value in TOLD.items()}

    @quick_jit
    def run(params, told):
        def loss(params, told):
            out = model.apply(params, x, t, told)
            return jnp.mean(out**2), out

        return jax.grad(loss, argnums=(0, 1), has_aux=True)(params, told)

    (by_params, by_told), out = run(params, told)
    for path, leaf in jax.tree.leaves_with_path(by_params):
        assert float(jnp.abs(leaf).max()) > 0, path
    for name, value in told.items():
        # Every token and number is heard.
        assert float(jnp.abs(by_told[name]).min()) > 0, name
        other = run(params, told | {name: value.at[0].add(1.0)})[1]
        changed = [bool(np.abs(a - b).max() > 1e-3) for a, b in zip(out, other, strict=True)]
        assert changed == [True, False], name
    # What is told in another order is the same: tokens carry their own places.
    shuffled = run(params, told | {"context": told["context"][:, ::-1]})[1]
    np.testing.assert_allclose(shuffled, out, atol=1e-4 * float(jnp.abs(out).max()))


@pytest.mark.slow
def test_a_context_changes_nothing_at_the_beginning():
    """The branch that looks at it is closed by a map near zero, as all branches are."""
    model = UNet(**SMALL, context_size=6)
    told = {"context": TOLD["context"]}
    middle = shapes(model, condition=told)["params"]["mid_block"]["attentions_0"]
    assert middle["transformer_blocks_0"]["attn2"]["to_k"]["kernel"].shape == (6, 16)
    block = SpatialTransformer(model._style(), 1)
    x = jax.random.normal(jax.random.key(0), (2, 4, 4, 16))
    out, _ = block.init_with_output(jax.random.key(1), x, TOLD["context"])
    assert 0 < float(jnp.abs(out - x).max()) < 1e-3


@pytest.mark.parametrize(
    "fields, condition, message",
    [
        ({}, {"label": jnp.zeros(2, jnp.int32)}, r"\['label'\] is unknown.*reads nothing"),
        ({"num_classes": 3}, {"text": jnp.zeros(2)}, r"\['text'\] is unknown.*reads \"label\""),
        ({"num_classes": 3}, {"label": jnp.zeros(2)}, r"as integers \[B\], got float32"),
        ({"num_classes": 3}, {"label": jnp.zeros(3, jnp.int32)}, r"B = 2 as x has"),
        ({"context_size": 6}, {}, r"\['context'\] is missing"),
        ({"context_size": 4}, TOLD | {}, r"\['embedding'\] is unknown"),
        ({"context_size": 4}, {"context": TOLD["context"]}, r"\[B, L, 4\], got \(2, 5, 6\)"),
        ({"embedding_size": 4}, {"embedding": TOLD["embedding"]}, r"\[B, 4\], got \(2, 7\)"),
    ],
)
def test_conditions_that_it_does_not_read(fields, condition, message):
    with pytest.raises(ValueError, match=message):
        shapes(UNet(**SMALL, **fields), condition=condition)


@pytest.mark.parametrize(
    "fields, message",
    [
        (
            {"downsample": "stride"},
            r"UNet\.downsample: expected one of conv, average, max, got 'stride'",
        ),
        ({"dtype": "float16"}, r"UNet\.dtype: expected one of float32, bfloat16, got"),
        ({"num_res_blocks": 10**9}, r"UNet\.num_res_blocks: expected whole numbers from 1 to 128"),
        ({"num_heads": 0}, r"UNet\.num_heads: expected whole numbers.* or None, got 0"),
        ({"multipliers": ()}, r"multipliers, from 1 to 12; got 0"),
        ({"multipliers": (1, 2.5)}, r"UNet\.multipliers: expected whole numbers"),
        ({"context_size": 6, "attention": "tutorial"}, r"UNet\.attention: expected \"ddpm\""),
        ({"num_heads": 2, "head_size": 4}, "num_heads or head_size, got both, 2 and 4"),
        ({"num_heads": 1, "attention": "tutorial"}, "got 1; set it to None for the tutorials' 4"),
        ({"time_scale": float("inf")}, r"UNet\.time_scale: expected a finite number"),
    ],
)
def test_fields_are_checked_before_anything_is_built(fields, message):
    with pytest.raises(ValueError, match=message):
        UNet(**fields)


@pytest.mark.parametrize(
    "model, size, message",
    [
        (UNet(**SMALL), (8, 9, 1), r"divisible by 2.*got 8x9.*resize"),
        (UNet(**SMALL, head_size=5), (8, 8, 1), r"head_size 5"),
        (UNet(**SMALL, num_heads=3), (8, 8, 1), r"num_heads"),
        (UNet(**SMALL), (8, 8), r"\[B, H, W, C\]"),
    ],
)
def test_faults(model, size, message):
    with pytest.raises(ValueError, match=message):
        shapes(model, size)


# ---------------------------------------------------------------- an image beside x


def test_squares_are_folded_and_unfolded():
    x = jax.random.normal(jax.random.key(0), (2, 6, 4, 3))
    folded = fold(x, 2)
    assert folded.shape == (2, 3, 2, 12)
    np.testing.assert_array_equal(folded[0, 1, 1], x[0, 2:4, 2:4].reshape(-1))
    np.testing.assert_array_equal(unfold(folded, 2), x)


@pytest.mark.slow
def test_a_correction_begins_as_the_image_beside_x():
    model = UNet(**SMALL, extra_channels=3, corrects=True, patch=2)
    assert model.reads == ("channels",)
    beside = jax.random.normal(jax.random.key(1), (2, 16, 8, 3))
    x, t, condition = jnp.ones((2, 16, 8, 3)), jnp.zeros(2), {"channels": beside}
    params = jax.jit(model.init)(jax.random.key(0), x, t, condition)
    assert params["params"]["conv_in"]["kernel"].shape == (3, 3, 2 * 3 * 4, 8)
    np.testing.assert_allclose(model.apply(params, x, t, condition), beside, atol=1e-4)
    with pytest.raises(ValueError, match="divisible by 4"):
        jax.eval_shape(model.init, jax.random.key(0), x[:, :6], t, {"channels": beside[:, :6]})
