"""Diffusion of tokens as an objective: the loss, refusals, and the model that it makes."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffax import codecs, losses, schedules
from diffax.data import Column, Digits, Spec
from diffax.generation import Sampling, generate
from diffax.models import TokenTransformer, VQModel
from diffax.objectives import TokenDiffusion
from diffax.solvers import DDIM, Ancestral

TEXTS = Spec({"x": Column((12,), "int32")}, size=9, alphabet="abcdefgh")
NETWORK = TokenTransformer(features=8, depth=1, num_heads=2)
SETTINGS = Sampling(solver=Ancestral(), steps=6, clip=None, num=4)


@pytest.fixture(scope="module")
def model():
    objective = TokenDiffusion(NETWORK).build(TEXTS)
    trainable, frozen = objective.init(jax.random.key(0), {}, {})
    return objective.model(trainable, frozen, SETTINGS)


@pytest.mark.parametrize("process", ["absorbing", pytest.param("uniform", marks=pytest.mark.slow)])
def test_without_knowledge_the_loss_is_at_most_even_coding(process):
    """A network that begins with zeros: log V nats a token, and less where x says something."""
    objective = TokenDiffusion(NETWORK, process=process).build(TEXTS)
    trainable, frozen = objective.init(jax.random.key(0), {}, {})
    batch = {"x": jax.random.randint(jax.random.key(1), (2048, 12), 0, 8)}
    loss, metrics = jax.jit(objective.loss)(trainable, frozen, batch, jax.random.key(2))
    np.testing.assert_allclose(loss, math.log(8), rtol=0.1)  # even data: the best there is
    np.testing.assert_allclose(metrics["bits"], loss / math.log(2), rtol=1e-6)
    assert {f"loss_t{i}" for i in range(1, 5)} < set(metrics)


@pytest.mark.parametrize(
    "sampler",
    [
        "ancestral",
        pytest.param("tau_leaping", marks=pytest.mark.slow),
        pytest.param("confident", marks=pytest.mark.slow),
    ],
)
def test_given_characters_are_kept_exactly(model, sampler):
    samples = generate(model, prefix="abc", suffix="ha", sampler=sampler, seed=3)
    texts = samples.codec.texts(np.asarray(samples.data))
    assert len(set(texts)) > 1
    assert all(text[:3] == "abc" and text[-2:] == "ha" for text in texts)
    assert np.asarray(samples.x).dtype == np.int32


@pytest.mark.slow
def test_sample_i_depends_on_the_seed_and_i_alone(model):
    few, many = (generate(model, num=n, batch_size=b, seed=1).data for n, b in ((2, 2), (4, 3)))
    np.testing.assert_array_equal(few, many[:2])


def test_what_cannot_be_asked_of_a_text_is_refused(model):
    for options, message in (
        ({"prefix": "abcdefgh", "suffix": "abcd"}, "have 12 characters, and a sample has 12"),
        ({"prefix": "aé"}, "the character 'é' is none of the 8"),
        ({"sampler": "ddim"}, "ddim.*DDIM|DDIM is for Gaussian noise"),
        ({"image": np.zeros((4, 4, 1))}, "something to start from needs a model of images"),
        ({"guidance_rescale": 0.5}, "this model makes tokens"),
    ):
        with pytest.raises(ValueError, match=message):
            generate(model, **options)


@pytest.mark.slow
def test_images_of_levels_are_infilled_as_images_are():
    spec = Digits().load().spec
    objective = TokenDiffusion(NETWORK).build(spec)
    assert objective.parameterization.process.size == 17
    trainable, frozen = objective.init(jax.random.key(0), {"label": jnp.zeros(1, jnp.int32)}, {})
    model = objective.model(trainable, frozen, SETTINGS)
    assert model.makes_images
    image = np.full((8, 8, 1), 255, np.uint8)
    mask = np.zeros((8, 8))
    mask[:4] = 1
    samples = generate(model, image=image, mask=mask, guidance=2.0, num=2)
    assert (samples.images[:, 4:] == 255).all() and (samples.images[:, :4] != 255).any()
    varied = generate(model, image=image, strength=0.2, num=2)
    assert 0.5 < (varied.images == 255).mean() < 1


@pytest.mark.slow
def test_codes_of_images_are_drawn_and_kept():
    shape = dict(
        block_out_channels=(4, 4),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        norm_num_groups=2,
        mid_block_add_attention=False,
    )
    module = VQModel(num_vq_embeddings=8, **shape)
    codec = codecs.Codes(
        codecs.Latent(module, module.init(jax.random.key(0), jnp.zeros((1, 8, 8, 3))))
    )
    images = Spec({"x": Column((8, 8, 3), "uint8")}, size=9)
    objective = TokenDiffusion(NETWORK, codec=codec).build(images)
    assert objective.shape == (4, 4, 1) and objective.parameterization.process.size == 8
    batch = {"x": jax.random.randint(jax.random.key(1), (64, 8, 8, 3), 0, 256).astype(jnp.uint8)}
    trainable, frozen = objective.init(jax.random.key(0), batch, objective.loaded)
    loss, _ = jax.jit(objective.loss)(trainable, frozen, batch, jax.random.key(2))
    np.testing.assert_allclose(loss, math.log(8), rtol=0.2)  # a network that knows nothing
    model = objective.model(trainable, frozen, SETTINGS)
    assert model.makes_images and generate(model, num=2).images.shape == (2, 8, 8, 3)
    mask = np.zeros((8, 8))
    mask[:4] = 1
    known = codec.encode(batch["x"][:1])
    drawn = generate(model, image=np.asarray(batch["x"][0]), mask=mask, num=8)
    assert (drawn.x[:, 2:] == known[:, 2:]).all()
    assert len(np.unique(drawn.x[:, :2], axis=0)) > 1


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"process": "gaussian"}, "process must be absorbing or uniform"),
        ({"schedule": schedules.Cosine()}, "needs a schedule of shares in continuous time"),
        ({"schedule": schedules.VE()}, "needs a schedule of shares in continuous time"),
        ({"times": losses.LogNormal()}, "is an integral over all times"),
        ({"codec": codecs.Identity()}, "needs a codec of tokens, got Identity"),
        ({"network": NETWORK.clone(vocabulary=5)}, "answers data of shape"),
    ],
)
def test_parts_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        TokenDiffusion(**({"network": NETWORK} | changes)).build(TEXTS)


def test_settings_of_gaussian_noise_are_refused():
    objective = TokenDiffusion(NETWORK).build(TEXTS)
    with pytest.raises(ValueError, match="tokens cannot be clipped"):
        objective.check_sampling(Sampling(solver=Ancestral()))
    with pytest.raises(ValueError, match="for Gaussian noise"):
        objective.check_sampling(Sampling(solver=DDIM(), clip=None))
    objective.check_sampling(SETTINGS)
