"""From an autoencoder's run to latent diffusion: by reference, bitwise, and never mixed up."""

import dataclasses
import json
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image
from tiny_run import assert_same, end_at, loss_curve, run, saved_state, tiny_config

from diffax.conditioning import Captions
from diffax.data import Digits
from diffax.losses import Codes
from diffax.models import AutoencoderKL, UNet, VQModel
from diffax.objectives import Adversary, Autoencoder, Denoising
from diffax.schedules import Cosine
from diffax.training import (
    Options,
    TrainedAutoencoder,
    from_json,
    load_codec,
    load_recipe,
    load_run,
    prepare,
    to_json,
    train_recipe,
)

CONFIGS = Path(__file__).parents[2] / "configs"

SHAPE = dict(
    block_out_channels=(4, 4),
    down_block_types=("DownEncoderBlock2D",) * 2,
    up_block_types=("UpDecoderBlock2D",) * 2,
    latent_channels=2,
    norm_num_groups=2,
    mid_block_add_attention=False,
)
NETWORKS = {
    "kl": (AutoencoderKL(**SHAPE), None),
    "codes": (VQModel(num_vq_embeddings=8, **SHAPE), Codes(decay=0.5)),
}
STEPS = 4


def autoencoder_config(kind="kl", seed=0, **fields):
    network, regularizer = NETWORKS[kind]
    config = tiny_config(steps=STEPS, batch_size=4, log_every=2, save_every=2, seed=seed)
    objective = Autoencoder(network, regularizer, **fields)
    return dataclasses.replace(config, data=Digits(split="test", labels=False), objective=objective)


def latent_config(path, cache=None, **fields):
    config = tiny_config(steps=STEPS, batch_size=4, log_every=2, save_every=2)
    objective = Denoising(
        network=UNet(channels=4, multipliers=(1,), num_res_blocks=1, attention_resolutions=()),
        schedule=Cosine(num_steps=10),
        codec=TrainedAutoencoder(str(path), cache=None if cache is None else str(cache)),
        **fields,
    )
    return dataclasses.replace(config, data=Digits(split="test", labels=False), objective=objective)


@pytest.fixture(scope="module")
def learned(tmp_path_factory, compiled_once):
    """A run of an autoencoder."""
    folder = tmp_path_factory.mktemp("runs") / "autoencoder"
    assert run(folder, autoencoder_config()) == 0
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["kl", "codes"])
def test_an_autoencoder_interrupted_and_continued_is_bitwise_the_same(tmp_path, kind):
    config = autoencoder_config(kind, adversary=Adversary(start=2, channels=4, layers=1))
    assert from_json(json.loads(json.dumps(to_json(config)))) == config
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert run(whole, config) == 0
    assert run(cut, config, before_call=end_at(cut, config, 1, "SIGTERM")) == 143
    assert run(cut, config) == 0
    state = saved_state(whole, config, STEPS)
    assert_same(saved_state(cut, config, STEPS), state)
    assert loss_curve(cut) == loss_curve(whole)
    assert state[".trainable['assigned']['steps']"] == STEPS


@pytest.mark.slow
def test_a_run_is_a_codec(learned):
    codec = load_codec(learned)
    images = Digits(split="test").load().arrays()["x"][:4]
    latents = codec.encode(images)
    assert latents.shape == (4, 4, 4, 2) and codec.decode(latents).shape == (4, 8, 8, 1)
    with pytest.raises(ValueError, match="learns no model that makes samples; load_codec gives"):
        load_run(learned)


@pytest.mark.slow
def test_latent_diffusion_resumes_bitwise_and_its_autoencoder_stays(tmp_path, learned):
    config = latent_config(learned, tmp_path / "latents.npz")
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert run(whole, config) == 0
    assert run(cut, config, before_call=end_at(cut, config, 1, "SIGTERM")) == 143
    assert run(cut, config) == 0
    state = saved_state(whole, config, STEPS)
    assert_same(saved_state(cut, config, STEPS), state)
    assert not any("decoder" in name for name in state)  # the autoencoder is not saved again
    record = json.loads((whole / "checkpoints" / f"{STEPS:08d}" / "record.json").read_text())
    (reference,) = record["frozen"]
    assert reference["source"] == f"codec: {learned}"
    model = load_run(whole)
    jax.tree.map(np.testing.assert_array_equal, model.codec.params, load_codec(learned).params)


@pytest.mark.slow
def test_latents_from_a_file_are_those_computed_on_the_fly(tmp_path, learned):
    file = tmp_path / "latents.npz"
    setup = prepare(latent_config(learned, file))
    assert not file.exists() and setup.spec.is_image and setup.objective.shape == (4, 4, 2)
    batch = setup.dataset.examples(np.arange(3))
    assert file.exists() and batch["x"].shape == (3, 4, 4, 2)
    images = Digits(split="test").load().arrays()["x"][:3]
    np.testing.assert_allclose(batch["x"], load_codec(learned).encode(images), atol=1e-5)


@pytest.mark.slow
def test_latents_of_another_autoencoder_are_refused(tmp_path, learned):
    file = tmp_path / "latents.npz"
    prepare(latent_config(learned, file)).dataset.examples(np.arange(1))
    config = latent_config(learned, file)
    older = dataclasses.replace(config.objective.codec, step=2)
    objective = dataclasses.replace(config.objective, codec=older)
    other = dataclasses.replace(config, objective=objective)
    with pytest.raises(ValueError, match="made of another autoencoder"):
        prepare(other)


def test_a_folder_without_a_run_is_one_line(tmp_path):
    with pytest.raises(FileNotFoundError, match="--codec.path runs/emoji_autoencoder"):
        prepare(latent_config(""))
    with pytest.raises(FileNotFoundError, match="holds no run"):
        prepare(latent_config(tmp_path))


@pytest.mark.slow
def test_missing_captions_are_one_line(learned):
    with pytest.raises(ValueError, match="data with captions"):
        prepare(latent_config(learned, conditioner=Captions(length=4, width=4, num_heads=1)))


# ---------------------------------------------------------------- recipes of folders

RECIPES = ["emoji_autoencoder", "image_folder_autoencoder", "upscale"]
CODES = ["emoji_autoencoder:codes", "emoji_tokens"]
VARIANTS = [*(f"{name}:debug" for name in RECIPES), *CODES, "emoji"]


@pytest.mark.parametrize("name", VARIANTS)
def test_a_recipe_is_plain_data(name):
    config = load_recipe(name, CONFIGS).config
    assert from_json(json.loads(json.dumps(to_json(config)))) == config


@pytest.mark.slow
@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_leaves_its_report(name, tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(60):
        pixels = rng.integers(0, 256, (4, 4, 3), np.uint8).repeat(4, 0).repeat(4, 1)
        Image.fromarray(pixels).save(folder / f"{i}.png")
    recipe = load_recipe(f"{name}:debug", CONFIGS)
    quiet = dataclasses.replace(recipe.config.train, tensorboard=False, workers=1)
    data = dataclasses.replace(recipe.config.data, dir=str(folder), held_out=0.2)
    config = dataclasses.replace(recipe.config, data=data, train=quiet)
    workdir = tmp_path / "run"
    assert train_recipe(recipe, config, workdir, Options(quiet=True)) == 0
    summary = json.loads((workdir / "summary.json").read_text())
    assert summary["complete"] and summary["psnr"] > 0
    assert (workdir / ("upscaled.png" if name == "upscale" else "reconstructions.png")).is_file()
