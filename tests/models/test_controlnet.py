"""ControlNet: its size, and that a fresh copy changes nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffax.models import BoundModule, UNet2DConditionModel, controlled, parameter_count
from diffax.models.controlnet import ControlNetModel, control_for, controls_of

UNET = UNet2DConditionModel(
    block_out_channels=(8, 16),
    layers_per_block=1,
    cross_attention_dim=6,
    norm_num_groups=4,
    attention_head_dim=2,
    down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
    up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
)


@pytest.fixture(scope="module")
def made():
    """A U-Net with a fresh copy of its encoder, and inputs of two samples."""
    key = jax.random.key(0, impl="rbg")  # compiles quickly
    x, t = jax.random.normal(key, (2, 4, 4, 4)), jnp.array([3.0, 500.0])
    told = {"context": jax.random.normal(key, (2, 5, 6))}
    hint = {"control": jax.random.uniform(key, (2, 32, 32, 3))}
    draws = np.random.RandomState(0)
    shapes = jax.eval_shape(UNET.init, key, x, t, told)
    params = jax.tree.map(lambda p: 0.2 * draws.standard_normal(p.shape).astype(p.dtype), shapes)
    module = control_for(UNET)
    control = jax.jit(module.init)(key, x, t, told | hint)
    copied = {**control["params"]}
    copied |= {name: tree for name, tree in params["params"].items() if name in copied}
    unet = BoundModule(UNET, params)
    return unet, BoundModule(module, {"params": copied}), (x, t, told), hint


@pytest.mark.slow
def test_a_fresh_copy_changes_nothing_and_scales_count_by_sample(made):
    unet, fresh, (x, t, told), hint = made
    both = controlled(unet, fresh)
    assert controls_of(both)[0].module == fresh.module
    run = jax.jit(both.module.apply)

    def out(control, scale):
        params = controlled(unet, control).params
        return run(params, x, t, told | hint | {"control_scale": jnp.array(scale)[:, None]})

    plain = jax.jit(UNET.apply)(unet.params, x, t, told)
    np.testing.assert_allclose(out(fresh, [1.0, 1.0]), plain, atol=1e-5)
    copy, own = (tree.params["params"]["down_blocks_0"] for tree in (fresh, unet))
    assert all(jax.tree.leaves(jax.tree.map(np.array_equal, copy, own)))

    # Every zero is moved: the copy now adds something.
    moved = BoundModule(fresh.module, jax.tree.map(lambda p: p + 0.1, fresh.params))
    full, half = out(moved, [1.0, 1.0]), out(moved, [0.0, 1.0])
    assert np.abs(full - plain).max() > 1e-2
    np.testing.assert_allclose(half[0], plain[0], atol=1e-5)
    np.testing.assert_allclose(half[1], full[1], atol=1e-5)


def test_the_published_size():
    """Stable Diffusion 1.5's ControlNet has 361,279,120 parameters."""
    module = ControlNetModel(cross_attention_dim=768)
    inputs = jnp.zeros((1, 8, 8, 4)), jnp.zeros(1)
    told = {"context": jnp.zeros((1, 1, 768)), "control": jnp.zeros((1, 64, 64, 3))}
    shapes = jax.eval_shape(module.init, jax.random.key(0), *inputs, told)
    assert parameter_count(shapes) == 361_279_120


def test_what_is_refused(made):
    unet, control, (x, t, told), hint = made
    with pytest.raises(ValueError, match="resize it"):
        control(x, t, told | {"control": jnp.zeros((2, 16, 32, 3))})
    other = BoundModule(control.module.clone(cross_attention_dim=8), control.params)
    with pytest.raises(ValueError, match="another base model: its cross_attention_dim is 8"):
        controlled(unet, other)
