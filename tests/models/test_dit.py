"""DiT: published parameter counts, what it hears, its beginning, faults."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from networks import check_every_example_hears_its_own, quick_jit, shapes, trained

from diffax.compilation import llvm_level
from diffax.models import DiT, parameter_count

TINY = {"features": 16, "depth": 2, "num_heads": 2}

# Trainable parameters of the original definitions for latents [32, 32, 4], 1,000 classes and
# learned variances. The originals count their table of fixed positions, too, which is no parameter
# here: 675,129,632 for XL/2.
PUBLISHED = {
    ("S", 2): 32_865_056,
    ("S", 4): 32_920_448,
    ("S", 8): 33_142_016,
    ("B", 2): 130_315_808,
    ("B", 4): 130_426_496,
    ("B", 8): 130_869_248,
    ("L", 2): 457_840_672,
    ("L", 4): 457_988_224,
    ("L", 8): 458_578_432,
    ("XL", 2): 674_834_720,
    ("XL", 4): 675_000_704,
    ("XL", 8): 675_664_640,
}


@pytest.mark.parametrize(
    "name, patch_size",
    [
        pytest.param(*size, marks=() if size in {("S", 4), ("XL", 2)} else pytest.mark.slow)
        for size in PUBLISHED
    ],
)
def test_published_numbers_of_parameters(name, patch_size):
    model = DiT.of_size(name, patch_size=patch_size, num_classes=1000, learned_variance=True)
    count = parameter_count(shapes(model, (32, 32, 4)))
    assert count == PUBLISHED[name, patch_size]
    if (name, patch_size) == ("XL", 2):
        assert count + (32 // 2) ** 2 * model.features == 675_129_632


@pytest.mark.slow
def test_it_begins_as_zero_and_every_block_as_the_identity():
    model = DiT(**TINY, num_classes=3)
    x = jax.random.normal(jax.random.key(0), (2, 8, 4, 3))
    out, params = quick_jit(lambda: model.init_with_output(jax.random.key(1), x, jnp.ones(2)))()
    assert out.shape == x.shape and out.dtype == jnp.float32
    np.testing.assert_array_equal(out, 0)
    block = params["params"]["blocks_1"]
    np.testing.assert_array_equal(block["modulation"]["kernel"], 0)
    # Xavier's bound, for query, key and value that of one matrix three times as wide.
    assert 0.9 < jnp.abs(block["attn"]["to_q"]["kernel"]).max() / np.sqrt(6 / (16 + 48)) <= 1
    assert 0.9 < jnp.abs(block["attn"]["to_out_0"]["kernel"]).max() / np.sqrt(6 / 32) <= 1
    patches = params["params"]["patches"]["kernel"]
    assert 0.9 < jnp.abs(patches).max() / np.sqrt(6 / (2 * 2 * 3 + 16)) <= 1


@pytest.mark.slow
def test_time_label_and_text_reach_their_own_example_and_every_parameter():
    model = DiT(**TINY, num_classes=3, context_size=5, learned_variance=True, remat=True)
    assert model.reads == ("label", "context")
    x, t = jax.random.normal(jax.random.key(0), (2, 4, 8, 1)), jnp.array([3.0, 700.0])
    text = jax.random.normal(jax.random.key(1), (2, 6, 5))
    told = {"label": jnp.array([1, 3]), "context": text}
    out = check_every_example_hears_its_own(model, x, t, told, label=2, context=0.0)
    assert out.shape == (2, 4, 8, 2)


def test_with_joint_attention_text_reaches_every_parameter_and_its_own_example():
    model = DiT(**TINY, num_classes=3, context_size=5, joint=True)
    x, t = jax.random.normal(jax.random.key(0), (2, 4, 8, 1)), jnp.array([3.0, 700.0])
    text = jax.random.normal(jax.random.key(1), (2, 6, 5))
    told = {"label": jnp.array([1, 3]), "context": text}
    out = check_every_example_hears_its_own(model, x, t, told, label=2, context=0.0)
    assert out.shape == (2, 4, 8, 1)


@pytest.mark.slow
def test_patches_know_their_places():
    model, t = DiT(**TINY), jnp.ones(1)
    x = jax.random.normal(jax.random.key(0), (1, 8, 8, 3))
    params, apply = trained(model, x.shape[1:]), quick_jit(model.apply)
    for axis in (1, 2):
        rolled = apply(params, jnp.roll(x, 2, axis), t)
        assert np.abs(np.roll(rolled, -2, axis) - apply(params, x, t)).max() > 1e-3


@pytest.mark.slow
def test_bfloat16_is_close_and_comes_back_as_float32():
    x, t = jax.random.normal(jax.random.key(0), (2, 8, 8, 3)), jnp.array([3.0, 700.0])
    params = trained(DiT(**TINY), (8, 8, 3))
    exact = quick_jit(DiT(**TINY).apply)(params, x, t)
    half = quick_jit(DiT(**TINY, dtype="bfloat16").apply)(params, x, t)
    assert half.dtype == jnp.float32
    assert 0 < np.abs(half - exact).max() < 5e-2 * np.abs(exact).max()


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="other back ends weigh the cost")
def test_no_kernel_grows_with_the_number_of_blocks():
    """Left alone, XLA's CPU compiler adds up all blocks anew in each of them."""

    def largest(depth):
        model = DiT(features=16, depth=depth, num_heads=2)
        x, t = jnp.ones((2, 8, 8, 3)), jnp.ones(2)
        params = jax.eval_shape(model.init, jax.random.key(0), x, t)
        gradient = jax.grad(lambda params: jnp.sum(model.apply(params, x, t) ** 2))
        options = llvm_level(0) | {"xla_backend_optimization_level": 0}
        text = jax.jit(gradient).lower(params).compile(compiler_options=options).as_text()
        kernels = re.findall(r"^%fused_computation\S* \(.*?^}", text, re.MULTILINE | re.DOTALL)
        return max(kernel.count(" = ") for kernel in kernels)

    assert largest(4) == largest(2)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: DiT.of_size("M"), "expected one of S, B, L, XL, got 'M'"),
        (lambda: DiT(features=30, num_heads=3), "multiple of 4 and of num_heads 3, got 30"),
        (lambda: DiT(joint=True), "DiT.joint: expected a context .*; set context_size"),
        (lambda: DiT(depth=1000), "DiT.depth: expected whole numbers from 1 to 128"),
        (lambda: shapes(DiT(**TINY), (8, 9, 3)), "divisible by 2.*patch.*got 8x9.*resize"),
        (lambda: shapes(DiT(**TINY, context_size=4)), r"\['context'\] is missing"),
        (lambda: shapes(DiT(**TINY), condition={"label": 0}), "reads nothing: pass {}"),
    ],
)
def test_faults(make, message):
    with pytest.raises(ValueError, match=message):
        make()
