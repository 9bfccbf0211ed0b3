"""Recipes as JSON: every noun goes there and back, and what does not fit is one line."""

import copy
import dataclasses
import json
import sys
import types
from dataclasses import replace
from pathlib import Path

import flax.linen as nn
import pytest
import tiny_run

from diffax.adapters import LowRank
from diffax.conditioning import Captions
from diffax.data import TFDS, ImageFolder, Toy
from diffax.evaluation import Evaluation, FlowBits, Frechet
from diffax.generation import Sampling
from diffax.losses import LearnedVariance, LogNormal, MinSNR
from diffax.models import TokenTransformer, UNet, VectorMLP
from diffax.objectives import Autoencoder, Denoising, Progressive
from diffax.schedules import AlphaBars, Betas, Cosine
from diffax.solvers import choice
from diffax.training import AdamW, Config, EMAConfig, Group, Optimizer, from_json, to_json
from diffax.training import Cosine as CosineDecay
from diffax.training.choices import choice_name, families, fields, replaced
from diffax.training.dotted import differences, flatten
from diffax.training.keeping.workdir import previous_config

# What has no default.
NEEDED = {
    "denoising": {"network": VectorMLP()},
    "consistency_training": {"network": VectorMLP()},
    "variational": {"network": VectorMLP()},
    "token_diffusion": {"network": TokenTransformer()},
    "betas": {"betas": (0.1, 0.2)},
    "alpha_bars": {"alpha_bars": (0.9, 0.2)},
    "tfds": {"name": "cifar10"},
}


def base() -> Config:
    return Config(Toy(), Denoising(VectorMLP()))


def placed(family: str, node) -> Config:
    """A config that holds a choice where it belongs."""
    config = base()
    if family in ("data", "objective"):
        return replace(config, **{family: node})
    if family in ("method", "decay"):
        return replace(config, optimizer=replace(config.optimizer, **{family: node}))
    if family == "groups":
        return replace(config, optimizer=replace(config.optimizer, groups=(node,)))
    if family == "solver":
        return replace(config, sample=Sampling(solver=node))
    if family == "predictor":
        return replace(config, sample=Sampling(solver=choice.make("langevin", predictor=node)))
    if family == "metrics":
        return replace(config, evaluation=Evaluation(every=1, metrics=(node,)))
    if family == "features":
        return replace(config, evaluation=Evaluation(every=1, metrics=(Frechet(features=node),)))
    if family == "dequantization":
        flow = FlowBits(dequantization=node)
        return replace(config, evaluation=Evaluation(every=1, metrics=(flow,)))
    if family == "writers":
        return replace(config, train=replace(config.train, writers=(node,)))
    if family == "teacher":
        return replace(config, objective=Progressive(teacher=node))
    if family in ("autoencoder", "regularizer", "perceptual", "adversary"):
        return replace(config, objective=Autoencoder(**{family: node}))
    return replace(config, objective=replace(config.objective, **{family: node}))


def default(family: str, name: str):
    needed = NEEDED.get(name, {})
    return (
        choice.make(name)
        if family in ("solver", "predictor")
        else families()[family][name](**needed)
    )


def other_values(value):
    """Values near a field's own, of which some at least are in its range."""
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int | float):
        return [value + 1, value / 2 + 0.25, value * 2] if value else [1, 0.5]
    if isinstance(value, tuple):
        return [value[:1] * 3]
    return [0.5, 2, (2, 4), "other"] if value is None else []


def changed(family, node):
    """The noun with each of its fields changed in turn, where another value is allowed."""
    for name, value in fields(node):
        for other in other_values(value):
            kind = type(value)
            if kind in (int, float):
                other = kind(other)
            if other == value:
                continue
            try:
                one = replaced(node, {name: other})
                from_json(plain(placed(family, one)))
            except (ValueError, TypeError):
                continue
            yield one
            break


def plain(config: Config):
    return json.loads(json.dumps(to_json(config)))


KINDS = [(family, name) for family, known in families().items() for name in known]


@pytest.mark.parametrize("family, name", KINDS, ids=[f"{f}-{n}" for f, n in KINDS])
def test_every_noun_goes_there_and_back(family, name):
    node = default(family, name)
    config = placed(family, node)
    assert from_json(plain(config)) == config
    assert f'"class": "{choice_name(family, node)}"' in json.dumps(plain(config))
    numbers = [n for n, v in fields(node) if isinstance(v, int | float)]
    several = 0
    for one in changed(family, node):
        config = placed(family, one)
        back = from_json(plain(config))
        assert back == config and back != placed(family, node)
        assert type(back) is Config and flatten(back) == flatten(config)
        several += 1
    assert several > 0 or not numbers


def rich() -> Config:
    """A config with something of everything."""
    return Config(
        data=ImageFolder(dir="images", image_size=(16, 8), captions=True, background=(1, 2, 3)),
        objective=Denoising(
            network=UNet(channels=8, multipliers=(1, 2), attention_resolutions=(8,)),
            schedule=Betas(betas=(0.1, 0.2)),
            times=LogNormal(mean=-1, std=2),
            weighting=MinSNR(gamma=3),
            variance=LearnedVariance(weight=0.01),
            conditioner=Captions(width=32, num_heads=2),
            adapter=LowRank(rank=2, alpha=1.0, pattern="kernel"),
        ),
        optimizer=Optimizer(
            AdamW(weight_decay=0.1),
            clip=None,
            decay=CosineDecay(steps=10),
            groups=(Group("conditioner", 1e-3, AdamW()),),
        ),
        ema=EMAConfig(decays=(0.9, 0.99), half_lives=(500.0,), widths=(0.05,)),
        sample=Sampling(solver=choice.make("dpmpp_2m"), guidance=2.0),
    )


def test_a_rich_config_goes_there_and_back():
    config = rich()
    assert from_json(plain(config)) == config
    assert differences(config, from_json(plain(config))) == {}


def paths(value, at=()):
    yield at
    inner = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if (isinstance(value, list))
        else ()
    )
    for key, item in inner:
        yield from paths(item, (*at, key))


def with_value(data, path, value):
    data = copy.deepcopy(data)
    if not path:
        return value
    inner = data
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return data


WRONG = ["x", "module:Class", 3.5, -1, True, None, [], [[1]], {}, {"a": 1}, {"class": "x"}, 10**400]


def test_any_wrong_value_anywhere_is_one_line_or_a_config():
    data = plain(rich())
    refused = 0
    for path in paths(data):
        for value in WRONG:
            try:
                config = from_json(with_value(data, path, value))
            except ValueError as error:
                refused += 1
                assert "\n" not in str(error) and len(str(error)) < 600, (path, value)
                continue
            # What was accepted is a config in every respect.
            assert from_json(plain(config)) == config, (path, value)
    assert refused > 500


@pytest.mark.parametrize(
    "path, value, words",
    [
        ((), [], "not a config of this version: expected sections data, objective"),
        (("train",), 3, "train in the config should be a value, got '3'"),
        (("train", "steps"), "many", "train in the config has a value of the wrong type"),
        (("train", "steps"), 2.5, "train.steps in the config should be a whole number, got '2.5'"),
        (("train", "tensorboard"), 1, "train.tensorboard in the config should be True or False"),
        (("train", "nonfinite"), "maybe", "should be one of stop, skip, got 'maybe'"),
        (("train", "stepz"), 1, "no field train.stepz; nearest: steps"),
        (("data",), None, 'data in the config should be {"class": NAME, ...}, got'),
        (("objective", "network"), 3, 'objective.network in the config should be {"class": NAME'),
        (("objective", "schedule"), None, "objective.schedule in the config should be"),
        (("objective", "schedule", "class"), 7, "names no schedule"),
        (("objective", "schedule", "class"), "cosin", "no schedule is called 'cosin'; nearest: c"),
        (("objective", "network", "channels"), "x", "channels"),
        (("objective", "network", "width"), 1, "no field objective.network.width; there are: ch"),
        (("objective", "conditioner", "params"), [1], "no field objective.conditioner.params"),
        (("optimizer", "groups"), 3, 'should be a list of {"class": NAME, ...}'),
        (("optimizer", "groups", 0), 3, 'should be a list of {"class": NAME, ...}'),
        (("ema", "decays"), [0.9, "x"], "ema"),
        (("sample", "solver", "class"), "dmpp", "no sampler 'dmpp'"),
        (("sample", "solver", "orders"), 3, "takes no option 'orders'"),
    ],
)
def test_what_is_wrong_is_named(path, value, words):
    with pytest.raises(ValueError) as error:
        from_json(with_value(plain(rich()), path, value))
    assert words in str(error.value) and "\n" not in str(error.value)


def test_classes_of_ones_own_must_have_been_imported():
    module = types.ModuleType("some_recipe")

    class Mine(nn.Module):
        groups: tuple[int, ...] = (1, 2)  # a name that is a choice's elsewhere

    Mine.__module__, Mine.__qualname__ = "some_recipe", "Mine"
    module.Mine = Mine
    sys.modules["some_recipe"] = module
    try:
        config = placed("network", Mine(groups=(3,)))
        data = plain(config)
        assert data["objective"]["network"] == {"class": "some_recipe:Mine", "groups": [3]}
        assert from_json(data) == config
        wrong = with_value(data, ("objective", "network", "class"), "some_recipe:Nothing")
        with pytest.raises(ValueError, match="is no class with fields"):
            from_json(wrong)
    finally:
        del sys.modules["some_recipe"]
    with pytest.raises(ValueError, match="give the recipe with --config, or import it first"):
        from_json(data)
    assert "some_recipe" not in sys.modules
    for name in ("os:system", "subprocess:Popen", "json:loads"):  # imported, and no noun
        with pytest.raises(ValueError, match="is no class with fields"):
            from_json(with_value(data, ("objective", "network", "class"), name))


OLD = {
    "data": {"name": "digits", "points": 10_000},
    "model": {"class": "UNet", "channels": 32},
    "schedule": {"name": "cosine", "num_steps": 1000},
    "loss": {"parameterization": "v"},
    "optimizer": {"name": "adam"},
    "ema": {"decays": [0.999]},
    "train": {"steps": 10, "pictures": True},
    "sample": {"sampler": "ddim"},
}


def test_a_folder_of_the_old_format_is_refused_in_one_line(tmp_path):
    (tmp_path / "config.json").write_text(
        json.dumps({"recipe": "configs/digits.py", "config": OLD})
    )
    with pytest.raises(
        ValueError, match="a folder of diffax 0.1 can be sampled with that"
    ) as error:
        previous_config(tmp_path)
    assert "\n" not in str(error.value) and str(tmp_path) in str(error.value)
    with pytest.raises(ValueError, match="diffax 0.1"):
        tiny_run.run(tmp_path, tiny_run.tiny_config())


def test_differences_have_dotted_names():
    new = replace(base(), objective=replace(base().objective, schedule=Cosine(num_steps=10)))
    assert differences(base(), new) == {"objective.schedule.num_steps": (1000, 10)}
    new = replace(base(), objective=replace(base().objective, schedule=AlphaBars((0.9, 0.1))))
    found = differences(base(), new)
    assert found["objective.schedule"] == ("cosine", "alpha_bars")
    assert found["objective.schedule.num_steps"] == (1000, None)
    assert found["objective.schedule.alpha_bars"] == (None, (0.9, 0.1))
    grouped = replace(base(), optimizer=Optimizer(groups=(Group("a"),)))
    found = differences(base(), grouped)
    assert found["optimizer.groups"] == ((), ("group",))
    assert found["optimizer.groups.group.pattern"] == (None, "a")
    other = replace(base(), optimizer=Optimizer(groups=(Group("b"),)))
    assert differences(grouped, other) == {"optimizer.groups.group.pattern": ("a", "b")}


def test_every_recipe_goes_there_and_back():
    from diffax.training import load_recipe

    folder = Path(__file__).parents[2] / "configs"
    for name in sorted(p.stem for p in folder.glob("*.py")):
        module = load_recipe(name, folder)
        variants = sys.modules[f"diffax_recipe_{name}"].VARIANTS
        for variant in variants:
            config = load_recipe(f"{name}:{variant}" if variant else name, folder).config
            assert from_json(plain(config)) == config, (name, variant)
        assert dataclasses.is_dataclass(module.config)


def test_tfds_is_a_choice_like_all_others():
    config = placed("data", TFDS("cifar10", split="train", labels=False, flip=True))
    assert flatten(config)["data"] == "tfds" and flatten(config)["data.flip"] is True
