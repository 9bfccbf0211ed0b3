"""Autoencoders: two players in one step, codes that follow, latents whose scale is measured."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from diffax.data import Column, Spec
from diffax.losses import KL, Codes, Plain
from diffax.models import AutoencoderKL, VQModel
from diffax.objectives import Adversary, Autoencoder
from diffax.objectives.objective import ASSIGNED
from diffax.training.optimizer import Optimizer

IMAGES = Spec({"x": Column((8, 8, 1), "uint8")}, size=4)
SHAPE = dict(
    block_out_channels=(8, 8),
    down_block_types=("DownEncoderBlock2D",) * 2,
    up_block_types=("UpDecoderBlock2D",) * 2,
    latent_channels=2,
    norm_num_groups=2,
    mid_block_add_attention=False,
)
SMALL, QUANTIZED = AutoencoderKL(**SHAPE), VQModel(num_vq_embeddings=8, **SHAPE)
ADVERSARY = Adversary(start=1, channels=4, layers=1)
BATCH = {"x": jax.random.randint(jax.random.key(9), (4, 8, 8, 1), 0, 256).astype(jnp.uint8)}


@functools.cache
def built(network=SMALL, **fields):
    """An objective, its parameters, and its compiled loss with the gradient."""
    objective = Autoencoder(network, **fields).build(IMAGES)
    example = {"x": jax.ShapeDtypeStruct((1, 8, 8, 1), jnp.uint8)}
    trainable, frozen = jax.jit(lambda key: objective.init(key, example, {}))(jax.random.key(0))
    slope = jax.jit(jax.value_and_grad(objective.loss, has_aux=True))
    return objective, trainable, frozen, slope


def sizes(tree):
    return {name: float(optax.tree.norm(part)) for name, part in tree.items()}


def with_steps(trainable, steps):
    return trainable | {ASSIGNED: trainable[ASSIGNED] | {"steps": jnp.float32(steps)}}


@pytest.mark.slow
def test_the_second_player_waits_and_then_both_learn_in_one_step():
    _, trainable, frozen, slope = built(adversary=ADVERSARY)
    (_, metrics), before = slope(trainable, frozen, BATCH, jax.random.key(1))
    assert sizes(before)["discriminator"] == 0 and float(metrics["adversary_weight"]) == 0
    (_, metrics), after = slope(with_steps(trainable, 1), frozen, BATCH, jax.random.key(1))
    assert sizes(after)["discriminator"] > 0 and float(metrics["adversary_weight"]) > 0
    assert sizes(jax.tree.map(jnp.subtract, after, before))["autoencoder"] > 0


def test_each_player_sees_the_other_stand_still():
    objective, trainable, frozen, _ = built(adversary=ADVERSARY)
    images = jnp.zeros((2, 8, 8, 1))
    params = trainable["discriminator"]

    def added(params, decoded):
        return objective._players(
            params, images, decoded, lambda s: (s,), lambda d: jnp.mean(jnp.abs(d)), jnp.float32(1)
        )[0]

    decoded = jax.random.normal(jax.random.key(2), images.shape)
    to_params, to_decoded = jax.jit(jax.grad(added, (0, 1)))(params, decoded)

    def judged(params, x):
        return ADVERSARY.discriminator.apply(params, x)

    def own(params):  # the discriminator's loss alone
        return 0.5 * (
            jnp.mean(jax.nn.relu(1 - judged(params, images)))
            + jnp.mean(jax.nn.relu(1 + judged(params, decoded)))
        )

    for a, b in zip(
        jax.tree.leaves(to_params), jax.tree.leaves(jax.grad(own)(params)), strict=True
    ):
        np.testing.assert_allclose(a, b, atol=1e-6)
    passing = jax.grad(lambda d: -jnp.mean(judged(params, d)))(decoded)
    cosine = jnp.sum(passing * to_decoded) / (
        jnp.linalg.norm(passing) * jnp.linalg.norm(to_decoded)
    )
    assert float(cosine) == pytest.approx(1, abs=1e-5)  # the generator's alone, balanced


@pytest.mark.slow
def test_codes_follow_the_latents_by_the_optimizer_of_the_run():
    objective, trainable, frozen, slope = built(QUANTIZED, regularizer=Codes(decay=0.5, revive=0.0))
    assert "quantize" not in trainable["autoencoder"]["params"]
    (_, metrics), found = slope(trainable, frozen, BATCH, jax.random.key(1))
    transform = Optimizer(clip=0.01, warmup_steps=50).build(trainable, steps=100, batch_size=4)
    updates, _ = transform.update(found, transform.init(trainable), trainable)
    state = jax.tree.map(jnp.add, trainable, updates)[ASSIGNED]["regularizer"]
    # Half of what was (one use each), half of 4 x 4 x 4 latents.
    assert float(state["count"].sum()) == pytest.approx(0.5 * 8 + 0.5 * 64, rel=1e-5)
    used = (np.asarray(state["count"]) > 0.51).mean()
    assert float(metrics["codes_used"]) == pytest.approx(used)
    codec = objective.learned_codec(trainable, frozen)
    book = codec.params["params"]["quantize"]["embedding"]["embedding"]
    np.testing.assert_allclose(
        book, trainable[ASSIGNED]["regularizer"]["total"], rtol=1e-4, atol=1e-6
    )
    assert codec.decode(codec.encode(BATCH["x"])).shape == (4, 8, 8, 1)


@pytest.mark.slow
def test_the_codec_has_latents_of_mean_0_and_deviation_1():
    objective, trainable, frozen, slope = built()
    (_, metrics), found = slope(trainable, frozen, BATCH, jax.random.key(1))
    assigned = jax.tree.map(jnp.subtract, trainable[ASSIGNED], found[ASSIGNED])
    assert float(assigned["steps"]) == 1
    codec = objective.learned_codec(trainable | {ASSIGNED: assigned}, frozen)
    latents = np.asarray(codec.encode(BATCH["x"]))
    assert latents.mean() == pytest.approx(0, abs=1e-4)
    assert latents.std() == pytest.approx(1, rel=1e-3)
    images = codec.decode(latents)
    error = np.mean((np.asarray(images) - (BATCH["x"] / 127.5 - 1)) ** 2, axis=(1, 2, 3))
    value, metrics = objective.loss(trainable, frozen, BATCH, jax.random.key(1), train=False)
    assert float(metrics["psnr"]) == pytest.approx(np.mean(10 * np.log10(4 / error)), rel=1e-4)


@pytest.mark.slow
def test_noise_and_draws_are_for_training_only():
    objective, trainable, frozen, _ = built(noise=0.5)
    loss = jax.jit(objective.loss, static_argnames="train")

    def value(key, train):
        return float(
            loss(trainable, frozen, BATCH, jax.random.key(key), train=train)[1]["reconstruction"]
        )

    assert value(1, True) != value(2, True)
    assert value(1, False) == value(2, False)


@pytest.mark.parametrize("recipe, spec, words", [
    (Autoencoder(SMALL), Spec({"x": Column((2,), "float32")}, 4), "trained on images"),
    (Autoencoder(SMALL), Spec({"x": Column((9, 8, 1), "uint8")}, 4), "multiple of 2"),
    (Autoencoder(SMALL, regularizer=Codes()), IMAGES, "codes go with vq_model"),
    (Autoencoder(QUANTIZED, regularizer=KL()), IMAGES, "does not fit VQModel"),
    (Autoencoder(QUANTIZED, regularizer=Plain()), IMAGES, "does not fit VQModel"),
])  # fmt: skip
def test_what_does_not_fit_is_one_line(recipe, spec, words):
    with pytest.raises(ValueError, match=words):
        recipe.build(spec)


@pytest.mark.parametrize("make, words", [
    (lambda: Adversary(weight=-1.0), "adversary.weight"),
    (lambda: Adversary(start=-1), "adversary.start"),
    (lambda: Adversary(layers=0), "PatchDiscriminator.layers"),
    (lambda: Autoencoder(noise=-0.1), "objective.noise"),
])  # fmt: skip
def test_numbers_are_checked(make, words):
    with pytest.raises(ValueError, match=words):
        make()
