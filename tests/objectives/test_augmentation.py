"""EDM's augmentation: the original's images and labels, what it leaves alone, how often."""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffax.data import Column, Spec
from diffax.models import SongUNet, UNet
from diffax.objectives import Denoising, NonLeaking
from diffax.objectives.augmentation import Changes, changed

TESTS = Path(__file__).parents[1]
sys.path.insert(0, str(TESTS / "pretrained"))

import paper_networks  # noqa: E402

GOLDEN = np.load(TESTS / "golden/networks/networks.npz")

quick = {"xla_backend_optimization_level": 0}


def test_images_and_labels_are_the_original_s():
    given = {name: jnp.asarray(v, jnp.float32) for name, v in paper_networks.CHANGES.items()}
    changes = Changes(**given)
    got = jax.jit(changed, compiler_options=quick)(jnp.asarray(paper_networks.IMAGES), changes)
    # Places in the image are known to 1e-6 of its side, and its slopes are about 4 a pixel.
    np.testing.assert_allclose(got, GOLDEN["augmented images"], atol=1e-4)
    np.testing.assert_allclose(changes.labels, GOLDEN["augmented labels"], atol=1e-6)
    # Nothing is done to the first one, and nothing comes of it.
    np.testing.assert_allclose(got[0], paper_networks.IMAGES[0], atol=1e-4)
    np.testing.assert_array_equal(changes.labels[0], 0)


def test_how_often_and_how_much():
    num = 20_000
    never, often = (NonLeaking(p).draw(jax.random.key(0), num) for p in (0.0, 0.3))
    labels = np.asarray(never.labels)
    np.testing.assert_array_equal(labels[:, 1:], 0)
    # Four standard deviations of a proportion of 20,000 are at most 0.014.
    assert abs(labels[:, 0].mean() - 0.5) < 0.015
    for name, share in [("scale", 0.3), ("angle", 0.3), ("stretch", 0.3), ("right", 0.3)]:
        assert abs((getattr(often, name) != 0).mean() - share) < 0.015, name
    assert abs(often.upended.mean() - 0.15) < 0.015
    np.testing.assert_array_equal(often.right != 0, often.down != 0)
    for name in ("scale", "stretch", "right", "down"):
        values = np.asarray(getattr(often, name))
        # A variance from 6,000 numbers is known to 2 %.
        np.testing.assert_allclose(values[values != 0].var(), 1, atol=0.08)
    together = (often.scale != 0) & (often.angle != 0)
    assert abs(together.mean() - 0.09) < 0.01  # each apart


SPEC = Spec({"x": Column((8, 8, 1), "uint8")}, size=4)
TINY = {"channels": 8, "multipliers": (1,), "num_res_blocks": 1, "attention_resolutions": ()}


def test_the_network_is_made_for_it_or_refused():
    recipe = Denoising(network=SongUNet(**TINY), augmentation=NonLeaking())
    assert recipe.build(SPEC).network.augment_size == 9
    with pytest.raises(ValueError, match="a network with augment_size.*UNet"):
        Denoising(network=UNet(**TINY), augmentation=NonLeaking()).build(SPEC)
    with pytest.raises(ValueError, match=r"augmentation\.probability"):
        NonLeaking(1.5)


@pytest.mark.slow
def test_training_changes_images_and_tells_the_network():
    recipe = Denoising(network=SongUNet(**TINY), augmentation=NonLeaking(1.0))
    objective = recipe.build(SPEC)
    draw = np.random.default_rng(0)
    batch = {"x": jnp.asarray(draw.integers(0, 256, (4, 8, 8, 1)), jnp.uint8)}
    params, frozen = objective.init(jax.random.key(0), batch, {})
    params = jax.tree.map(lambda p: p + 0.1 * draw.standard_normal(p.shape), params)
    params = jax.tree.map(lambda p: p.astype(jnp.float32), params)

    def gradient(train):
        loss = lambda params: objective.loss(params, frozen, batch, jax.random.key(1), train)[0]
        return jax.jit(jax.grad(loss), compiler_options=quick)(params)

    by_network = gradient(True)["network"]["params"]["augment_embedding"]["kernel"]
    assert float(jnp.abs(by_network).min()) > 0
    by_network = gradient(False)["network"]["params"]["augment_embedding"]["kernel"]
    np.testing.assert_array_equal(by_network, 0)
