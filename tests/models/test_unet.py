"""The U-Net: the published parameter count, shapes, options, faults."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffax.models import UNet, parameter_count

SMALL = {"channels": 8, "multipliers": (1, 2), "num_res_blocks": 1, "attention_resolutions": (4,)}


def shapes(model, size=(8, 8, 1), labels=False):
    x, t = jnp.zeros((2, *size)), jnp.zeros((2,))
    condition = jnp.zeros((2,), jnp.int32) if labels else None
    return jax.eval_shape(lambda key: model.init(key, x, t, condition), jax.random.key(0))


def trained(model, size=(8, 8, 1)):
    """Parameters as if trained, none near zero. Drawn by numpy: compiling `init` takes longer."""
    draw = np.random.default_rng(0).standard_normal
    # A kernel's outputs keep the size of its inputs; scales lie near one.
    return jax.tree_util.tree_map_with_path(
        lambda path, p: jnp.asarray(
            draw(p.shape) * np.prod(p.shape[:-1]) ** -0.5
            if len(p.shape) > 1
            else draw(p.shape) * 0.1 + ("scale" in jax.tree_util.keystr(path)),
            p.dtype,
        ),
        shapes(model, size),
    )


def quick_jit(f):
    """Compile for a single run on tiny shapes."""
    return jax.jit(f, compiler_options={"xla_backend_optimization_level": 0})


def test_ddpm_cifar10_has_the_published_number_of_parameters():
    assert parameter_count(shapes(UNet(dropout=0.1), (32, 32, 3))) == 35_746_307


def test_iddpm_and_learned_variance_have_the_expected_shapes():
    model = UNet(scale_shift_norm=True, learned_variance=True, num_heads=4, num_res_blocks=3)
    params = shapes(model, (32, 32, 3))["params"]
    assert params["conv_out"]["kernel"].shape == (3, 3, 128, 6)
    assert params["down_1_0"]["embedding"]["kernel"].shape == (512, 512)
    assert shapes(UNet(**SMALL, out_channels=5))["params"]["conv_out"]["bias"].shape == (5,)


@pytest.mark.parametrize(
    "options",
    [
        {"num_classes": 3, "dropout": 0.5},
        {"downsample": "max", "upsample": "bilinear", "attention": "tutorial"},
        {
            "downsample": "average",
            "scale_shift_norm": True,
            "learned_variance": True,
            "head_size": 8,
            "flip_sin_to_cos": True,
            "freq_shift": 0.0,
        },
    ],
    ids=["classes", "tutorial", "iddpm"],
)
def test_every_parameter_has_a_gradient_and_the_output_is_float32(options):
    """On a non-square image; where a label table is, only the rows that were asked for."""
    model = UNet(**SMALL, **options)
    x = jax.random.normal(jax.random.key(0), (2, 8, 12, 3))
    t, label = jnp.array([1.0, 700.0]), None
    if model.num_classes:
        label = jnp.array([1, 3])  # 3 is the null label
    params = trained(model, x.shape[1:])

    @quick_jit
    def run(params):
        def loss(params):
            rngs = {"dropout": jax.random.key(2)}
            out = model.apply(params, x, t, label, train=True, rngs=rngs)
            return jnp.mean(out**2), out

        return jax.grad(loss, has_aux=True)(params)

    gradient, out = run(params)
    assert out.shape == (2, 8, 12, 6 if model.learned_variance else 3)
    assert out.dtype == jnp.float32
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype(jnp.float32)}
    for path, leaf in jax.tree.leaves_with_path(gradient):
        # A key's bias shifts all logits of a query alike, which the softmax ignores.
        if "key" not in jax.tree_util.keystr(path) or leaf.ndim > 1:
            assert float(jnp.abs(leaf).max()) > 0, path
    if model.num_classes:
        rows = np.abs(gradient["params"]["label"]["embedding"]).max(axis=1) > 0
        np.testing.assert_array_equal(rows, [False, True, False, True])


def test_the_output_depends_on_time_label_and_every_example_only_on_itself():
    model = UNet(**SMALL, num_classes=3)
    x = jax.random.normal(jax.random.key(0), (3, 8, 8, 1))
    t, label = jnp.array([5.0, 5.0, 5.0]), jnp.array([0, 1, 3])
    params = trained(model)
    apply = quick_jit(model.apply)
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
    assert 0 < float(jnp.abs(params["params"]["middle_0"]["conv_2"]["kernel"]).max()) < 1e-3
    # Uniform of variance 2 / (fan_in + fan_out) = 1 / 72 for 3 x 3 kernels from 8 to 8.
    kernel = params["params"]["middle_0"]["conv_1"]["kernel"]
    assert float(jnp.abs(kernel).max()) <= (3 / 72) ** 0.5
    np.testing.assert_allclose(72 * kernel.var(), 1, atol=0.15)


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
    params = shapes(UNet(dropout=0.1), (32, 32, 3))["params"]
    attending = sorted(name for name in params if "attention" in name)
    assert attending == sorted(
        ["down_1_0_attention", "down_1_1_attention", "middle_attention"]
        + [f"up_1_{i}_attention" for i in range(3)]
    )
    # Not square: where either side has it.
    assert "down_0_0_attention" in shapes(UNet(**SMALL), (4, 8, 1))["params"]


@pytest.mark.parametrize(
    "model, size, message",
    [
        (UNet(**SMALL), (8, 9, 1), r"divisible by 2.*got 8x9.*resize"),
        (UNet(**SMALL, downsample="stride"), (8, 8, 1), r"UNet\.downsample.*conv, average, max"),
        (UNet(**SMALL, dtype="float16"), (8, 8, 1), r"UNet\.dtype"),
        (UNet(**SMALL, head_size=5), (8, 8, 1), r"head_size 5"),
        (UNet(**SMALL, num_heads=3), (8, 8, 1), r"num_heads"),
        (UNet(**SMALL), (8, 8), r"\[B, H, W, C\]"),
    ],
)
def test_faults(model, size, message):
    with pytest.raises(ValueError, match=message):
        shapes(model, size)


def test_labels_need_classes():
    with pytest.raises(ValueError, match="num_classes is None"):
        shapes(UNet(**SMALL), labels=True)
