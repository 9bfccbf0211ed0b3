"""ControlNets of our own U-Net: a fresh copy changes nothing, and what does not fit is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffax.models import BoundModule, ControlNetModel, UNet, controlled
from diffax.models.controlnet import control_for, copied

# Folded by 2, so that the control image is halved once.
UNET = UNet(
    channels=4,
    multipliers=(1, 2),
    num_res_blocks=1,
    attention_resolutions=(),
    context_size=3,
    patch=2,
)
SHAPE = (8, 8, 2)


@pytest.fixture(scope="module")
def made():
    """A U-Net, a fresh copy of its encoder, and what two samples are told."""
    draws = np.random.default_rng(0)
    x, t = draws.standard_normal((2, *SHAPE), np.float32), jnp.array([3.0, 500.0])
    told = {"context": draws.standard_normal((2, 5, 3), np.float32)}
    hint = {"control": draws.uniform(size=(2, 8, 8, 3)).astype(np.float32)}
    shapes = jax.eval_shape(UNET.init, jax.random.key(0), x, t, told)
    params = jax.tree.map(lambda p: 0.3 * draws.standard_normal(p.shape, np.float32), shapes)
    unet = BoundModule(UNET, params)
    module = control_for(UNET, conditioning_embedding_out_channels=(4, 8))
    return unet, copied(module, unet, module.inputs(SHAPE), seed=0), (x, t, told), hint


def test_a_fresh_copy_changes_nothing_and_scales_count_by_sample(made):
    unet, fresh, (x, t, told), hint = made
    run = jax.jit(controlled(unet, fresh).module.apply)

    def out(control, scale):
        params = controlled(unet, control).params
        return run(params, x, t, told | hint | {"control_scale": jnp.array(scale)[:, None]})

    plain = jax.jit(UNET.apply)(unet.params, x, t, told)
    np.testing.assert_allclose(out(fresh, [1.0, 1.0]), plain, atol=1e-5)
    # Every zero is moved: the copy now adds something.
    moved = BoundModule(fresh.module, jax.tree.map(lambda p: p + 0.1, fresh.params))
    full, half = out(moved, [1.0, 1.0]), out(moved, [0.0, 1.0])
    assert np.abs(full - plain).max() > 1e-2
    np.testing.assert_allclose(half[0], plain[0], atol=1e-5)
    np.testing.assert_allclose(half[1], full[1], atol=1e-5)


def test_the_copy_is_the_encoder_and_the_rest_is_new(made):
    unet, fresh, _, _ = made
    theirs, own = unet.params["params"], fresh.params["params"]
    shared = {name for name in own if not name.startswith("controlnet_")}
    assert shared == {name for name in theirs if "up_" not in name and "_out" not in name}
    assert all(own[name] is theirs[name] for name in shared)
    zero = {name for name in own if not any(map(np.any, jax.tree.leaves(own[name])))}
    assert zero == set(own) - shared - {"controlnet_cond_embedding"}
    assert len(zero) == fresh.module.count


def test_what_is_refused(made):
    unet, control, (x, t, told), hint = made
    with pytest.raises(ValueError, match=r"\[8, 8, 3\], got \[4, 4, 3\]: resize it"):
        control(x, t, told | {"control": jnp.zeros((2, 4, 4, 3))})
    other = BoundModule(control.module.clone(channels=8), control.params)
    with pytest.raises(ValueError, match="another base model: its channels is 8, the U-Net's 4"):
        controlled(unet, other)
    with pytest.raises(ValueError, match="it is a ControlNetModel, the U-Net a UNet"):
        controlled(unet, BoundModule(ControlNetModel(), {}))
