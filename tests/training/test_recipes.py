"""Every recipe of configs/ trains, samples and continues in seconds; sizes are as published."""

import dataclasses
from pathlib import Path

import jax
import numpy as np
import pytest
from tiny_run import assert_same, end_at, run, saved_state

from diffax.data import Column, Spec
from diffax.generation import generate
from diffax.models import parameter_count
from diffax.training import TrainedRun, from_json, load_recipe, load_run, to_json
from diffax.training.recipe import load_module
from diffax.training.setup import example_of

CONFIGS = Path(__file__).parents[2] / "configs"
TEACHER = "digits:debug"


def needs_files(name: str) -> bool:
    """Whether a recipe asks for data on the disk; these have tests of their own."""
    return getattr(load_recipe(name, CONFIGS).config.data, "dir", "none asked for") is None


ALL = [
    f"{path.stem}:{variant}"
    for path in sorted(CONFIGS.glob("*.py"))
    for variant in getattr(load_module(path), "VARIANTS", ("debug",))
    if variant.endswith("debug")
]
NAMES = [name for name in ALL if not needs_files(name)]
# What no other default test trains; the others are slow tests.
BY_DEFAULT = ("cifar_dit:debug",)


def recipe_of(name: str, teacher: Path | None = None):
    """The recipe's config; with a teacher's folder where it needs one."""
    config = load_recipe(name, CONFIGS).config
    if teacher is not None and hasattr(config.objective, "teacher"):
        objective = dataclasses.replace(config.objective, teacher=TrainedRun(str(teacher)))
        config = dataclasses.replace(config, objective=objective)
    quiet = dict(tensorboard=False, images=False, workers=1)
    return dataclasses.replace(config, train=dataclasses.replace(config.train, **quiet))


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "teacher"
    config = recipe_of(TEACHER)
    short = dataclasses.replace(config.train, steps=10, sample_every=0)
    assert run(folder, dataclasses.replace(config, train=short)) == 0
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_is_plain_data(name):
    config = load_recipe(name, CONFIGS).config
    assert from_json(to_json(config)) == config
    assert config.train.steps <= 40, "a debug variant is over in seconds"


@pytest.mark.parametrize(
    "name", [n if n in BY_DEFAULT else pytest.param(n, marks=pytest.mark.slow) for n in NAMES]
)
def test_a_recipe_trains_and_samples(name, tmp_path, request):
    needs = hasattr(load_recipe(name, CONFIGS).config.objective, "teacher")
    config = recipe_of(name, request.getfixturevalue("teacher") if needs else None)
    assert run(tmp_path, config) == 0
    samples = generate(load_run(tmp_path), num=2)
    assert np.isfinite(np.asarray(samples.data)).all() and len(samples) == 2


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_continues_bitwise(name, tmp_path, teacher, compiled_once):
    config = recipe_of(name, teacher)
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    steps = config.train.steps
    assert run(whole, config) == 0
    assert run(cut, config, before_call=end_at(cut, config, steps // 2, "SIGTERM")) == 143
    assert run(cut, config) == 0
    assert_same(saved_state(cut, config, steps), saved_state(whole, config, steps))


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
    # EDM without the 9 labels of its augmentation, which are 1,152 parameters more.
    pytest.param("cifar_edm", UNLABELLED, 55_732_739, marks=pytest.mark.slow),
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
