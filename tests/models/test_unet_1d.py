"""Networks over time: the U-Net and DiffWave."""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

import networks

from diffax.models import DiffWave, UNet1D
from diffax.models.blocks.dilated import taps

UNET = UNet1D(channels=8, multipliers=(1, 2), patch=2, num_heads=2, num_classes=3, frame_size=5)
DILATED = DiffWave(channels=8, layers=3, cycle=3, patch=1, num_classes=3, frame_size=5)
T = jnp.array([10.0, 700.0])


@pytest.mark.parametrize(
    "model",
    [pytest.param(UNET, marks=pytest.mark.slow, id="unet"), pytest.param(DILATED, id="diffwave")],
)
def test_every_example_hears_its_own(model):
    x = jax.random.normal(jax.random.key(0), (2, 16, 2))
    frames = jax.random.normal(jax.random.key(1), (2, 4, 5))
    told = {"label": jnp.array([0, 2]), "frames": frames}
    out = networks.check_every_example_hears_its_own(model, x, T, told, label=1, frames=1.0)
    assert out.shape == x.shape


def test_taps_and_a_linear_map_are_a_dilated_convolution():
    x = jax.random.normal(jax.random.key(0), (2, 1, 20, 3))
    kernel = jax.random.normal(jax.random.key(1), (1, 3, 3, 4))
    expected = jax.lax.conv_general_dilated(
        x, kernel, (1, 1), "SAME", rhs_dilation=(1, 4), dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    np.testing.assert_allclose(taps(x, 4) @ kernel.reshape(9, 4), expected, atol=1e-5)


def test_diffwave_hears_as_far_as_it_says():
    model = DiffWave(channels=8, layers=5, cycle=3)
    assert model.dilations == (1, 2, 4, 1, 2) and model.reach == 10
    params = networks.trained(model, (40, 1))
    answer = networks.quick_jit(jax.grad(lambda x: model.apply(params, x, T[:1])[0, 20, 0]))
    heard = answer(jnp.ones((1, 40, 1)))
    far = np.flatnonzero(np.abs(heard[0, :, 0]) > 1e-9)
    assert (far.min(), far.max()) == (10, 30)
    assert DiffWave().reach == 3069  # 30 layers, cycle 10: as published


def test_sequences_have_kernels_of_one_row():
    shapes = networks.shapes(
        UNET, (16, 2), {"label": jnp.zeros(2, int), "frames": jnp.zeros((2, 4, 5))}
    )
    kernels = [leaf.shape for leaf in jax.tree.leaves(shapes) if len(leaf.shape) == 4]
    assert kernels and {shape[:2] for shape in kernels} == {(1, 3), (1, 1)}


def test_learned_variance_doubles_the_channels():
    for model in (UNet1D(channels=8, multipliers=(1,), patch=4), DiffWave(channels=8, layers=2)):
        twice, x = model.clone(learned_variance=True), jnp.zeros((2, 8, 2))
        out = jax.eval_shape(
            lambda key, m=twice, x=x: m.init_with_output(key, x, T)[0], jax.random.key(0)
        )
        assert out.shape == (2, 8, 4)


@pytest.mark.parametrize("make, message", [
    (lambda: UNet1D(channels=2), "UNet1D.channels: expected whole numbers from 4"),
    (lambda: UNet1D(multipliers=()), "expected equally many entries in multipliers"),
    (lambda: DiffWave(cycle=0), "DiffWave.cycle: expected whole numbers from 1 to 16"),
    (lambda: run(UNet1D(), (100, 1)), "UNet1D: expected a length that is a multiple of 64"),
    (lambda: run(DiffWave(), (8, 8, 1)), r"expected sequences \[B, L, C\]"),
    (lambda: run(DILATED, (8, 1)), r"condition \['frames'\] is missing"),
    (lambda: run(UNet1D(), (64, 1), {"label": jnp.zeros(1, int)}), "'label'.* is unknown"),
])  # fmt: skip
def test_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def run(model, shape, condition=None):
    x = jnp.zeros((1, *shape))
    return jax.eval_shape(lambda: model.init(jax.random.key(0), x, jnp.zeros(1), condition or {}))
