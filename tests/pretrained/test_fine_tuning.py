"""Published parts in training: low-rank adapters, frozen autoencoders and text encoders."""

import dataclasses
import json
from pathlib import Path

import jax
import numpy as np
import pytest
import tiny_models as tiny
import tiny_pipelines

from diffax import adapters, codecs
from diffax.data import ArrayFile
from diffax.generation import Sampling, generate, text_to_image
from diffax.models import UNet
from diffax.objectives import Denoising
from diffax.pretrained import (
    PublishedAutoencoder,
    PublishedNetwork,
    PublishedReader,
    load_lora,
    load_network,
    load_pipeline,
    with_loras,
)
from diffax.schedules import ScaledLinear
from diffax.training import (
    Config,
    EMAConfig,
    Optimizer,
    Options,
    Recipe,
    TrainConfig,
    choices,
    open_run,
    prepare,
    save_run,
    train_recipe,
)

TRAIN = TrainConfig(
    steps=4, batch_size=4, log_every=2, save_every=2, sample_every=0, tensorboard=False,
    images=False, workers=1,
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny Stable Diffusion, and eight captioned images."""
    folder = tmp_path_factory.mktemp("published")
    tiny_pipelines.components("sd").save(folder / "sd")
    images = np.rint((tiny.draws("images", 8, 16, 16, 3).clip(-2, 2) + 2) * 63.75)
    captions = np.array(["a cat", "cat at", "a (cat)", "", "at", "a", "cat cat", "a cat at a"])
    np.savez(folder / "data.npz", images=images.astype(np.uint8), captions=captions)
    return folder


def low_rank(folder) -> Config:
    return Config(
        data=ArrayFile(str(folder / "data.npz"), captions=True),
        objective=Denoising(
            network=PublishedNetwork(str(folder / "sd" / "unet")),
            schedule=ScaledLinear(),
            conditioner=PublishedReader(str(folder / "sd"), dropout=0.2),
            codec=PublishedAutoencoder(str(folder / "sd" / "vae")),
            adapter=adapters.LowRank(rank=2),
        ),
        optimizer=Optimizer(learning_rate=1e-2),
        ema=EMAConfig(decays=(0.5,)),
        train=TRAIN,
        sample=Sampling(steps=2, num=2),
    )


def run(config, workdir, **options):
    recipe = Recipe("tuned", "", Path("tuned.py"), config)
    return train_recipe(recipe, config, workdir, Options(quiet=True, **options))


@pytest.fixture(scope="module")
def tuned(folder):
    assert run(low_rank(folder), folder / "run") == 0
    return folder / "run"


@pytest.mark.slow
def test_only_the_factors_are_learned_and_saved(folder, tuned):
    setup = prepare(low_rank(folder))
    state, frozen = setup.start()
    shapes = {leaf.shape for leaf in jax.tree.leaves(state.trainable)}
    assert all(2 in shape for shape in shapes)
    # Before any training the adapted network is the published one.
    model = setup.objective.model(state.trainable, frozen, Sampling())
    published = load_network(folder / "sd" / "unet")
    jax.tree.map(np.testing.assert_array_equal, model.network.params, published.params)
    record = json.loads((tuned / "checkpoints" / "00000004" / "record.json").read_text())
    saved = sum(int(np.prod(shape)) for shape, _ in record["arrays"].values())
    assert saved < sum(leaf.size for leaf in jax.tree.leaves(published.params)) / 5
    assert [reference["source"].partition(":")[0] for reference in record["frozen"]] == [
        "codec", "conditioner", "network",
    ]  # fmt: skip


@pytest.mark.slow
def test_a_tuned_run_is_read_back_and_makes_images_of_texts(folder, tuned):
    model = open_run(tuned).model
    published = load_pipeline(folder / "sd")
    options = dict(prompt="a cat", num=1, seed=1, steps=2, decode=False)
    ours = generate(model, **options).x
    assert ours.shape == (1, 8, 8, 4) and np.isfinite(ours).all()
    # Frozen parts are the published ones to the last bit, adapted kernels are not.
    jax.tree.map(np.testing.assert_array_equal, model.codec.params, published.codec.params)
    moved = jax.tree.map(
        lambda a, b: bool((a != b).any()), model.network.params, published.network.params
    )
    names = {
        jax.tree_util.keystr(path)
        for path, changed in jax.tree_util.tree_flatten_with_path(moved)[0]
        if changed
    }
    assert names and all("to_" in name and "kernel" in name for name in names)
    image = text_to_image(model, "a cat", steps=2)
    assert image.shape == (1, 16, 16, 3)


@pytest.mark.slow
def test_it_is_published_as_a_lora_with_a_card(folder, tuned, tmp_path):
    out = tmp_path / "cat"
    assert save_run(tuned, out, name="me/cat", licence="mit") == "lora"
    assert sorted(p.name for p in out.iterdir()) == [
        "README.md",
        "pytorch_lora_weights.safetensors",
    ]
    assert [p.name for p in tmp_path.iterdir()] == ["cat"]
    card = (out / "README.md").read_text()
    assert 'base = diffax.load_pipeline("sd")' in card and 'load_lora("me/cat", base)' in card
    assert str(folder) not in card
    base = load_pipeline(folder / "sd")
    ours, theirs = with_loras(base, (load_lora(out, base), 1.0)), open_run(tuned).model
    for a, b in zip(
        jax.tree.leaves(ours.network.params), jax.tree.leaves(theirs.network.params), strict=True
    ):
        np.testing.assert_allclose(a, b, atol=1e-6)


@pytest.mark.slow
def test_it_goes_on_bitwise_and_not_with_another_base(folder, tuned, tmp_path):
    config = low_rank(folder)
    short = dataclasses.replace(config, train=dataclasses.replace(TRAIN, steps=2))
    assert run(short, tmp_path / "run") == 0
    assert run(config, tmp_path / "run") == 0
    whole, resumed = (
        open_run(d, ema="none").model.network.params for d in (tuned, tmp_path / "run")
    )
    jax.tree.map(np.testing.assert_array_equal, whole, resumed)

    other = tmp_path / "other"
    components = tiny_pipelines.components("sd")
    changed = jax.tree.map(lambda p: p + 1, components.unet)
    dataclasses.replace(components, unet=changed).save(other)
    objective = dataclasses.replace(config.objective, network=PublishedNetwork(str(other / "unet")))
    longer = dataclasses.replace(TRAIN, steps=6)
    swapped = dataclasses.replace(config, objective=objective, train=longer)
    with pytest.raises(ValueError, match="fingerprint .* is not the one"):
        run(swapped, tmp_path / "run", allow_config_change=True)


@pytest.mark.slow
def test_latents_of_a_frozen_autoencoder(folder, tmp_path):
    """A network of our own, from scratch, in the latent space of a published autoencoder."""
    config = Config(
        data=ArrayFile(str(folder / "data.npz")),
        objective=Denoising(
            network=UNet(channels=8, multipliers=(1, 2), num_res_blocks=1,
                         attention_resolutions=()),
            codec=PublishedAutoencoder(str(folder / "sd" / "vae")),
        ),
        ema=EMAConfig(decays=(0.5,)),
        train=TRAIN,
        sample=Sampling(steps=2, num=2, clip=None),
    )  # fmt: skip
    assert choices.from_json(choices.to_json(config)) == config
    assert run(config, tmp_path / "run") == 0
    model = open_run(tmp_path / "run").model
    assert isinstance(model.codec, codecs.Latent) and model.shape == (8, 8, 4)
    samples = generate(model, num=2)
    assert samples.x.shape == (2, 8, 8, 4) and samples.images.shape == (2, 16, 16, 3)
    # The latents that are learned are the autoencoder's own, drawn from its posterior.
    images = np.load(folder / "data.npz")["images"]
    mean = model.codec.encode(images)
    drawn = jax.jit(lambda x: model.codec.encode(x, jax.random.key(0)))(images)
    assert 0 < np.abs(drawn - mean).max() < 10 * np.abs(mean).max()


def test_what_is_missing_is_said(folder):
    config = low_rank(folder)
    for part, noun, said in (
        ("network", PublishedNetwork(), "needs --network.path"),
        ("codec", PublishedAutoencoder(str(folder / "sd" / "unet")), "no autoencoder"),
        ("conditioner", PublishedReader(str(folder / "nowhere")), "nowhere"),
        ("adapter", adapters.LowRank(pattern="nosuch"), "matches no parameter"),
    ):
        objective = dataclasses.replace(config.objective, **{part: noun})
        with pytest.raises((ValueError, FileNotFoundError), match=said):
            prepare(dataclasses.replace(config, objective=objective))
