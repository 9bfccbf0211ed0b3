"""Every recipe of configs/ trains, samples and continues in seconds; sizes are as published."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image
from scipy.io import wavfile
from tiny_run import assert_same, end_at, last_row, run, saved_state

from diffax.data import TFDS, AudioFolder, Column, Spec
from diffax.generation import generate
from diffax.models import parameter_count
from diffax.objectives import Autoencoder
from diffax.training import (
    TrainedCodes,
    TrainedRun,
    from_json,
    load_codec,
    load_recipe,
    load_run,
    to_json,
)
from diffax.training.recipe import load_module
from diffax.training.setup import example_of

CONFIGS = Path(__file__).parents[2] / "configs"
TEACHER = "digits:debug"


def tunes(name: str) -> bool:
    """Whether a recipe asks for a published model; these are tested in test_tuning.py."""
    return hasattr(getattr(load_recipe(name, CONFIGS).config.objective, "network", None), "open")


def reads_codes(name: str) -> bool:
    """Whether a recipe asks for the run of an autoencoder with a codebook."""
    codec = getattr(load_recipe(name, CONFIGS).config.objective, "codec", None)
    return isinstance(codec, TrainedCodes)


def reads_a_folder(name: str) -> bool:
    """Whether a recipe asks for images on the disk."""
    return getattr(load_recipe(name, CONFIGS).config.data, "dir", "none asked for") is None


ALL = [
    f"{path.stem}:{variant}"
    for path in sorted(CONFIGS.glob("*.py"))
    for variant in getattr(load_module(path), "VARIANTS", ("debug",))
    if variant.endswith("debug")
]
NAMES = [name for name in ALL if not tunes(name)]


def recipe_of(name: str, request):
    """The recipe's config; with a teacher's folder or a folder of images where it needs one."""
    config = load_recipe(name, CONFIGS).config
    if hasattr(config.objective, "teacher"):
        teacher = TrainedRun(str(request.getfixturevalue("teacher")))
        objective = dataclasses.replace(config.objective, teacher=teacher)
        config = dataclasses.replace(config, objective=objective)
    if reads_codes(name):
        codec = TrainedCodes(str(request.getfixturevalue("codes")))
        config = dataclasses.replace(
            config, objective=dataclasses.replace(config.objective, codec=codec)
        )
    if reads_a_folder(name):
        config = dataclasses.replace(config, data=with_folder(config.data, request))
    quiet = dict(tensorboard=False, images=False, workers=1)
    return dataclasses.replace(config, train=dataclasses.replace(config.train, **quiet))


def with_folder(data, request):
    """A data set of files, with the files."""
    if isinstance(data, TFDS):
        folder = os.environ.get("DIFFAX_TEST_DATA")
        if folder is None:
            pytest.skip("DIFFAX_TEST_DATA, the folder with CIFAR-10 in tfds/, is not set")
        return dataclasses.replace(data, dir=str(Path(folder) / "tfds"))
    if isinstance(data, AudioFolder):
        return dataclasses.replace(data, dir=str(request.getfixturevalue("sounds")))
    images = str(request.getfixturevalue("images"))
    return dataclasses.replace(data, dir=images, held_out=0.2 if data.held_out else 0.0)


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    """Eight short files of two kinds."""
    folder, rng = tmp_path_factory.mktemp("sounds"), np.random.default_rng(0)
    for kind in ("low", "high"):
        (folder / kind).mkdir()
        for i in range(4):
            samples = rng.integers(-8000, 8000, 20_000).astype(np.int16)
            wavfile.write(folder / kind / f"{i}.wav", 8000, samples)
    return folder


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Forty captioned images."""
    folder, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for i in range(40):
        pixels = rng.integers(0, 256, (4, 4, 3), np.uint8).repeat(4, 0).repeat(4, 1)
        Image.fromarray(pixels).save(folder / f"{i}.png")
        (folder / f"{i}.txt").write_text(f"image number {i}")
    return folder


def made_by(folder: Path, config) -> np.ndarray:
    """Two samples of a run, or of an autoencoder two reconstructions."""
    if isinstance(config.objective, Autoencoder):
        codec, size = load_codec(folder), config.data.image_size
        return np.asarray(codec.decode(codec.encode(np.zeros((2, size, size, 3), np.uint8))))
    model = load_run(folder)
    small = (8, 8, 3)  # half of the images' size
    given = {"low_res": np.zeros(small, np.uint8)} if "low_res" in model.conditioner.asks else {}
    return np.asarray(generate(model, num=2, **given).data)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory, request):
    folder = tmp_path_factory.mktemp("runs") / "teacher"
    config = recipe_of(TEACHER, request)
    short = dataclasses.replace(config.train, steps=10, sample_every=0)
    assert run(folder, dataclasses.replace(config, train=short)) == 0
    return folder


@pytest.fixture(scope="module")
def codes(tmp_path_factory, request):
    folder = tmp_path_factory.mktemp("runs") / "codes"
    assert run(folder, recipe_of("emoji_autoencoder:codes_debug", request)) == 0
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_is_plain_data(name):
    config = load_recipe(name, CONFIGS).config
    assert from_json(to_json(config)) == config
    assert config.train.steps <= 40, "a debug variant is over in seconds"


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_trains_and_samples(name, tmp_path, request):
    config = recipe_of(name, request)
    assert run(tmp_path, config) == 0
    samples = made_by(tmp_path, config)
    assert np.isfinite(samples).all() and len(samples) == 2


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_continues_bitwise(name, tmp_path, request, compiled_once):
    config = recipe_of(name, request)
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    steps = config.train.steps
    assert run(whole, config) == 0
    assert run(cut, config, before_call=end_at(cut, config, steps // 2, "SIGTERM")) == 143
    assert run(cut, config) == 0
    assert_same(saved_state(cut, config, steps), saved_state(whole, config, steps))


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_is_the_same_on_four_devices(name, tmp_path, request):
    """Gradients are summed in another order there: 4 steps agree to rounding."""
    config = recipe_of(name, request)
    assert run(tmp_path / "one", config) == 0
    command = [sys.executable, "train.py", "--config", name, "--workdir", str(tmp_path / "four")]
    command += ["--train.tensorboard", "False", "--train.images", "False"]
    if hasattr(config.objective, "teacher"):
        command += ["--objective.teacher.path", config.objective.teacher.path]
    if reads_codes(name):
        command += ["--codec.path", config.objective.codec.path]
    if reads_a_folder(name):
        command += ["--data.dir", config.data.dir]
        if hasattr(config.data, "held_out"):
            command += ["--data.held_out", str(config.data.held_out)]
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=4"
    environment = os.environ | {"XLA_FLAGS": flags}
    subprocess.run(command, cwd=CONFIGS.parent, env=environment, check=True, capture_output=True)
    one, four = (last_row(tmp_path / name) for name in ("one", "four"))
    assert one["step"] == four["step"]
    np.testing.assert_allclose(four["loss"], one["loss"], rtol=2e-3)


CIFAR = Spec(
    {"x": Column((32, 32, 3), "uint8"), "label": Column((), "int32")},
    size=50_000,
    class_names=tuple(map(str, range(10))),
)
UNLABELLED = dataclasses.replace(CIFAR, columns={"x": CIFAR.columns["x"]}, class_names=())
IMAGENET = dataclasses.replace(
    CIFAR,
    columns={"x": Column((64, 64, 3), "uint8"), "label": Column((), "int32")},
    class_names=tuple(map(str, range(1000))),
)
LATENTS = dataclasses.replace(
    IMAGENET,
    columns={"x": Column((32, 32, 4), "float32"), "label": Column((), "int32")},
    mean=(0.0,) * 4,
    std=(1.0,) * 4,
)


@pytest.mark.parametrize("name, spec, published", [
    pytest.param("cifar", UNLABELLED, 35_746_307, marks=pytest.mark.slow),  # Ho et al. 2020
    # openai/improved-diffusion
    pytest.param("cifar_iddpm", UNLABELLED, 52_546_438, marks=pytest.mark.slow),
    pytest.param("cifar_edm", UNLABELLED, 55_733_891, marks=pytest.mark.slow),  # NVlabs/edm
    pytest.param("cifar_edm_cond", CIFAR, 55_735_299, marks=pytest.mark.slow),
    pytest.param("imagenet64_adm", IMAGENET, 295_904_454, marks=pytest.mark.slow),
    pytest.param("imagenet256_dit", LATENTS, 674_834_720, marks=pytest.mark.slow),
    ("ddpm_conditional", CIFAR, 23_335_299),  # dome272/Diffusion-Models-pytorch
    ("ddpm_conditional:unconditional", UNLABELLED, 23_332_739),
])  # fmt: skip
def test_a_recipes_network_is_as_large_as_the_published_one(name, spec, published):
    recipe = load_recipe(name, CONFIGS).config.objective
    if name == "imagenet256_dit":
        recipe = dataclasses.replace(recipe, codec=None)
    objective = recipe.build(spec)
    batch = example_of(objective, spec)
    trainable, _ = jax.eval_shape(
        lambda key: objective.init(key, batch, objective.loaded), jax.random.key(0)
    )
    assert parameter_count(trainable) == published
