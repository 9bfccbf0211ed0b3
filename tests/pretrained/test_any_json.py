"""Every field of every JSON file of a published model with values of any kind: one line, or loaded.

What is loaded in spite of a strange value did not need it. Nothing may take long: sizes are bounded
before anything is built.
"""

import itertools
import json
import random

import pytest
import tiny_pipelines

from diffax.pretrained import from_diffusers, load_network, load_pipeline
from diffax.pretrained.configs import module_from_config, read_json
from diffax.pretrained.tokenizer import load_tokenizer

NESTED = {"a": {"b": [{"c": [[None]]}]}}
STRANGE = [
    None,
    True,
    0,
    -1,
    3,
    1.5,
    10**9,
    -(10**30),
    10**400,
    float("nan"),
    float("inf"),
    "",
    "x\x1b\ny",
    "1" * 5000,
    [],
    [None],
    [1, 2],
    ["DownBlock2D", 7],
    [[1], [[2]]],
    {},
    {"a": 1},
    NESTED,
    [NESTED, NESTED],
]

LOADERS = {
    "model_index.json": load_pipeline,
    "scheduler/scheduler_config.json": load_pipeline,
    "unet/config.json": load_network,
    "vae/config.json": load_network,
    "text_encoder/config.json": load_network,
    "tokenizer/tokenizer_config.json": load_tokenizer,
    "tokenizer/special_tokens_map.json": load_tokenizer,
    "tokenizer/vocab.json": load_tokenizer,
    "tokenizer/tokenizer.json": load_tokenizer,
}
# The same without the tensors: thousands of values in seconds.
QUICK = {
    "scheduler/scheduler_config.json": lambda place: from_diffusers(
        read_json(place / "scheduler_config.json"), 3
    ),
    **dict.fromkeys(
        ("unet/config.json", "vae/config.json", "text_encoder/config.json"),
        lambda place: module_from_config(read_json(place / "config.json")),
    ),
}
# Read by their values: one field stands for the others.
LONG = {"tokenizer/vocab.json": 3}
ABSENT = ("timesteps", "trained_betas", "num_class_embeds", "no_such_field", "_class_name")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("published") / "tiny"
    tiny_pipelines.components("sd").save(place)
    settings = json.loads((place / "tokenizer/tokenizer_config.json").read_text())
    marks = {key: value for key, value in settings.items() if key.endswith("_token")}
    (place / "tokenizer/special_tokens_map.json").write_text(json.dumps(marks))
    return place


def cases(folder):
    """(file, path of keys, value)."""
    found = []
    for name in LOADERS:
        content = json.loads((folder / name).read_text())
        keys = [(key,) for key in list(content)[: LONG.get(name)]]
        keys += [(key, inner) for key in content for inner in inside(content[key])]
        keys += [(key,) for key in ABSENT if key not in content]
        found += [(name, key, value) for key, value in itertools.product(keys, STRANGE)]
        found += [(name, (), value) for value in STRANGE]
    return found


def inside(value):
    if isinstance(value, list) and len(value) < 10:
        return range(len(value))
    return list(value)[:3] if isinstance(value, dict) else ()


def problem(folder, name, keys, value, quick=False):
    """What is wrong with how the file with that value is taken; None: nothing."""
    load = QUICK[name] if quick and name in QUICK else LOADERS[name]
    file = folder / name
    whole = file.read_text()
    content = json.loads(whole)
    target = content
    for key in keys[:-1]:
        target = target[key]
    if keys:
        target[keys[-1]] = value
    else:
        content = value
    try:
        file.write_text(json.dumps(content))
        load(folder if load is load_pipeline else file.parent)
    except (ValueError, FileNotFoundError) as error:
        said = str(error)
        if "\n" in said or "\x1b" in said or len(said) > 2000:
            return f"not one line: {said[:300]!r}"
        # A value that fits by itself may be at odds with another field, which is named then.
        return None if quick or str(folder) in said else f"names no file: {said[:300]}"
    except BaseException as error:
        return f"{type(error).__name__}: {str(error)[:200]}"
    finally:
        file.write_text(whole)
    return None


def check(folder, chosen, quick=False):
    wrong = [
        f"{name} {keys} = {str(value)[:40]!r}: {found}"
        for name, keys, value in chosen
        if (found := problem(folder, name, keys, value, quick))
    ]
    assert not wrong, f"{len(wrong)} of {len(chosen)}:\n" + "\n".join(wrong)


KNOWN = [
    ("vae/config.json", ("in_channels",), 10**400),
    ("unet/config.json", ("transformer_layers_per_block",), [[1], [[2]]]),
    ("unet/config.json", ("mid_block_type",), "1" * 5000),
    ("tokenizer/tokenizer_config.json", ("eos_token",), "1" * 5000),
    ("tokenizer/tokenizer.json", ("version",), "x\x1b\ny"),
]


def test_some_of_them(folder):
    drawn = [case for case in cases(folder) if not case[0].startswith(("scheduler", "model"))]
    check(folder, [*KNOWN, *random.Random(1).sample(drawn, 400)], quick=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in LOADERS if name != "model_index.json"])
def test_all_of_them(folder, name):
    check(folder, [case for case in cases(folder) if case[0] == name], quick=True)


@pytest.mark.slow
def test_whole_folders_name_the_file(folder):
    check(folder, random.Random(2).sample(cases(folder), 100))


@pytest.mark.parametrize("depth", [900, 100_000])
@pytest.mark.parametrize("name", ["model_index.json", "unet/config.json"])
def test_nested_beyond_reading(folder, name, depth):
    file = folder / name
    whole = file.read_text()
    try:
        file.write_text('{"_class_name": ' + "[" * depth + "]" * depth + "}")
        with pytest.raises(ValueError, match="tiny") as error:
            LOADERS[name](folder if LOADERS[name] is load_pipeline else file.parent)
        assert "\n" not in str(error.value)
    finally:
        file.write_text(whole)
