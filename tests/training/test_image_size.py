"""Images get the size of the run that training begins with, unless another is said."""

import dataclasses
import json
from pathlib import Path

import pytest

from diffax.commands import train
from diffax.data import Column, Digits, ImageFolder, Spec, Toy
from diffax.training import TrainedAutoencoder, load_recipe, to_json
from diffax.training.image_size import sized_as, trained_size, warn_of_another_size
from diffax.training.keeping import manifest

CONFIGS = Path(__file__).parents[2] / "configs"


def recipe(name):
    return load_recipe(f"{name}:debug", CONFIGS).config


def left_by(folder, data, shape, dtype="uint8"):
    """What a run on such data leaves, as far as it says the size."""
    config = to_json(dataclasses.replace(recipe("emoji"), data=data))
    (folder / "config.json").write_text(json.dumps({"recipe": "emoji.py", "config": config}))
    spec = Spec({"x": Column(shape, dtype)}, 4).to_json()
    checkpoint = folder / "checkpoints" / "00000004"
    checkpoint.mkdir(parents=True)
    record = {"step": 4, "arrays": {}, "config": config, "facts": spec}
    (checkpoint / "record.json").write_text(json.dumps(record))
    manifest.write(checkpoint)
    return folder


@pytest.mark.parametrize("data, shape, dtype, size", [
    (ImageFolder(image_size=24), (24, 24, 3), "uint8", (24, 24)),
    (Digits(), (8, 8, 1), "uint8", (8, 8)),  # as the images come
    (ImageFolder(image_size=16, buckets=8), (8, 32, 3), "uint8", (16, 16)),
    (Toy(), (2,), "float32", None),
])  # fmt: skip
def test_the_size_of_a_runs_images(tmp_path, data, shape, dtype, size):
    assert trained_size(left_by(tmp_path, data, shape, dtype)) == size


def test_a_recipe_gets_the_runs_size(tmp_path):
    lora = recipe("lora")
    assert sized_as(lora, tmp_path) == lora  # no run: a published model
    square, wide = tmp_path / "square", tmp_path / "wide"
    square.mkdir(), wide.mkdir()
    left_by(square, ImageFolder(image_size=24), (24, 24, 3))
    left_by(wide, ImageFolder(image_size=(8, 12)), (8, 12, 3))
    assert sized_as(lora, square) == dataclasses.replace(
        lora, data=dataclasses.replace(lora.data, image_size=24)
    )
    assert sized_as(lora, wide).data.image_size == (8, 12)
    vectors = dataclasses.replace(lora, data=Toy())
    assert sized_as(vectors, square) == vectors


@pytest.mark.parametrize("said, size", [
    ((), 24), (("--data.image_size", "32"), 32), (("--data", "parquet"), 24),
    (("--data", "parquet", "--data.image_size", "32"), 32),
    (("--data", "parquet", "--image_size", "32"), 32),
])  # fmt: skip
def test_on_the_command_line_a_size_goes_first(tmp_path, monkeypatch, said, size):
    run = left_by(tmp_path, ImageFolder(image_size=24), (24, 24, 3))
    seen = []
    monkeypatch.setattr(train, "dry_run", lambda recipe, config, *_: seen.append(config))
    given = ("--config", "lora", "--pretrained", str(run), "--dry-run", *said)
    assert train.main(given, recipes=CONFIGS) == 0
    assert [config.data.image_size for config in seen] == [size]


def test_an_autoencoder_of_another_size_is_told(tmp_path, capsys):
    left_by(tmp_path, ImageFolder(image_size=16), (16, 16, 3))
    emoji = recipe("emoji").objective
    latents = dataclasses.replace(emoji, codec=TrainedAutoencoder(str(tmp_path)))
    other = Spec({"x": Column((32, 32, 3), "uint8")}, 4)
    same = Spec({"x": Column((16, 16, 3), "uint8")}, 4)
    for objective, spec in ((emoji, other), (latents, same)):
        warn_of_another_size(objective, spec)
    assert capsys.readouterr().err == ""
    warn_of_another_size(latents, other)
    told = capsys.readouterr().err
    assert told.startswith("warning: ") and told.count("\n") == 1
    assert "on images of 16x16, these have 32x32; --data.image_size 16 16 gives" in told
