"""The convolution: lax's values and gradients, through every transformation, and canonical."""

import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from diffax.models.blocks.convolution import Conv, conv2d, conv2d_doubled, upsample_nearest

CASES = [
    ((3, 3), (1, 1), "SAME", (6, 8)),
    ((3, 3), (2, 2), "SAME", (6, 8)),  # pads (0, 1)
    ((3, 3), (2, 2), ((1, 1), (1, 1)), (6, 8)),
    ((4, 2), (2, 1), "VALID", (7, 5)),
    ((3, 3), (2, 2), ((0, 1), (0, 1)), (5, 7)),
    ((1, 1), (1, 1), "SAME", (3, 3)),
    ((1, 1), (2, 2), "SAME", (4, 4)),
    ((2, 3), (2, 3), "VALID", (5, 6)),  # patches side by side; a row is left over
    ((3, 3), (1, 1), "SAME", (2, 1)),  # fewer pixels than channels come out
    ((2, 3), (1, 1), ((1, 0), (2, 1)), (1, 2)),
]


def reference(x, kernel, strides, padding):
    return lax.conv_general_dilated(
        x, kernel, strides, padding, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def quick_jit(f):
    """Compile for a single run on tiny shapes."""
    return jax.jit(f, compiler_options={"xla_backend_optimization_level": 0})


def arrays(kernel_size, size, dtype=jnp.float32):
    x_key, kernel_key = jax.random.split(jax.random.key(0))
    x = jax.random.normal(x_key, (2, *size, 3), dtype)
    return x, jax.random.normal(kernel_key, (*kernel_size, 3, 5), dtype)


def loss(convolve, strides, padding):
    return lambda x, kernel: jnp.sum(jnp.sin(convolve(x, kernel, strides, padding)))


@pytest.mark.parametrize(
    "kernel_size, strides, padding, size, dtype, tolerance",
    [(*case, jnp.float32, 1e-5) for case in CASES]
    + [(*case, jnp.bfloat16, 3e-2) for case in CASES[:2]],
)
def test_values_and_gradients_are_those_of_lax(
    kernel_size, strides, padding, size, dtype, tolerance
):
    args = arrays(kernel_size, size, dtype)
    gradients = [
        jax.value_and_grad(loss(f, strides, padding), argnums=(0, 1)) for f in (conv2d, reference)
    ]
    ours, theirs = quick_jit(lambda *args: [gradient(*args) for gradient in gradients])(*args)
    # The same sums in another order: 40 float32 terms; bfloat16 has 8 bits.
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        assert a.dtype == b.dtype
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * np.abs(b).max())


@pytest.mark.parametrize("size", [(2, 3), (24, 25)])  # by the definition; by sub-pixels
def test_a_convolution_of_repeated_pixels(size):
    x, kernel = arrays((3, 3), size)

    def doubled(x, kernel):
        return reference(upsample_nearest(x), kernel, (1, 1), "SAME")

    def everything(convolve):
        out, back = jax.vjp(convolve, x, kernel)
        return out, back(jnp.cos(out)), jax.jvp(convolve, (x, kernel), (jnp.cos(x), kernel))[1]

    ours, theirs = quick_jit(lambda: [everything(f) for f in (conv2d_doubled, doubled)])()
    # Sums of 27 terms, and over 2 x 48 x 50 pixels in the kernel's gradient.
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(a, b, atol=3e-6 * float(jnp.abs(b).max()))


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="other back ends take the definition")
def test_repeated_pixels_are_not_convolved():
    x, kernel = arrays((3, 3), (24, 25))
    requested = [
        jax.jit(f).lower(x, kernel).cost_analysis()["flops"]
        for f in (conv2d_doubled, lambda x, kernel: conv2d(upsample_nearest(x), kernel))
    ]
    assert requested[0] < requested[1] / 2  # 16 products for 36


def test_forward_mode_and_second_order():
    args = arrays((3, 3), (4, 4))
    tangents = jax.tree.map(jnp.cos, args)

    def everything(convolve):
        f = loss(convolve, (2, 2), "SAME")
        forward = jax.jvp(f, args, tangents)
        over = jax.jvp(jax.grad(f, argnums=(0, 1)), args, tangents)
        twice = jax.grad(lambda x: jnp.sum(jax.grad(f, argnums=1)(x, args[1]) ** 2))(args[0])
        return forward, over, twice

    ours, theirs = quick_jit(lambda: [everything(f) for f in (conv2d, reference)])()
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5 * float(jnp.abs(b).max()))


def test_per_example_gradients_under_vmap():
    x, kernel = arrays((3, 3), (4, 4))

    def per_example(convolve):
        f = loss(convolve, (1, 1), "SAME")
        return jax.vmap(lambda one: jax.grad(f, argnums=1)(one[None], kernel))(x)

    ours, theirs = quick_jit(lambda: [per_example(f) for f in (conv2d, reference)])()
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="other back ends take lax's own form")
@pytest.mark.parametrize("strides", [(1, 1), (2, 2)])
def test_every_convolution_in_a_scan_is_canonical(strides):
    """In the compiled program: `b01f_01io->b01f`, which alone XLA's CPU back end runs fast.

    The time follows from it, and a clock would make a poor test.
    """
    args = arrays((3, 3), (8, 8))

    def canonical(convolve):
        gradient = jax.grad(loss(convolve, strides, "SAME"), argnums=(0, 1))

        def body(args, _):
            return jax.tree.map(lambda a, g: a - 0.1 * g, args, gradient(*args)), None

        program = jax.jit(lambda args: lax.scan(body, args, None, length=3)[0])
        text = program.lower(args).compile().as_text()
        # A rev of the kernel may stay inside the window description as `rhs_reversal`.
        layouts = re.findall(r"dim_labels=(\w+->\w+)", text)
        assert len(layouts) >= 3
        return set(layouts) == {"b01f_01io->b01f"} and "rhs_reversal" not in text

    assert canonical(conv2d)
    # The complaint is still there: when this fails, XLA has mended it and this module can go.
    assert not canonical(reference)


def test_an_image_without_gradient_costs_no_gradient():
    x, kernel = arrays((3, 3), (8, 8))
    gradient = jax.grad(loss(conv2d, (1, 1), "SAME"), argnums=1)
    text = str(jax.make_jaxpr(gradient)(x, kernel))
    assert text.count("conv_general_dilated[") == 2  # the value, and the kernel's gradient


def test_module_has_the_parameters_and_values_of_linen():
    x = jax.random.normal(jax.random.key(1), (2, 6, 4, 3))
    ours, theirs = Conv(5, strides=(2, 2)), nn.Conv(5, (3, 3), (2, 2))
    params = theirs.init(jax.random.key(0), x)
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(
        jnp.shape, ours.init(jax.random.key(0), x)
    )
    np.testing.assert_allclose(ours.apply(params, x), theirs.apply(params, x), atol=1e-6)


def test_channels_that_differ_are_refused():
    with pytest.raises(ValueError, match="same C"):
        conv2d(jnp.zeros((1, 4, 4, 2)), jnp.zeros((3, 3, 3, 5)))
