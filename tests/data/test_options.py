"""Values that are refused before any data are looked at, and how the records are written down."""

import dataclasses
import json

import pytest
import tyro

from diffax.data import BY_NAME, TFDS, ArrayFile, Digits, ImageFolder, Toy


@pytest.mark.parametrize(
    "kind, field, value",
    [
        (Digits, "random_crop", 1.0),
        (Digits, "random_crop", -0.1),
        (Digits, "random_crop", float("nan")),
        (ArrayFile, "image_size", 0),
        (TFDS, "image_size", (8, -8)),
        (ImageFolder, "image_size", (8, 8, 8)),
        (ImageFolder, "image_size", 10**9),
        (ImageFolder, "channels", 4),
        (ImageFolder, "background", (0, 0, 256)),
        (ImageFolder, "cache_mb", -1),
        (TFDS, "cache_mb", -1),
        (Toy, "num", -5),
        (Toy, "num", 10**12),
        (Toy, "seed", -1),
        (Toy, "seed", 2**32),
        (Toy, "noise", -1.0),
        (Toy, "noise", float("nan")),
        (Toy, "split", "all"),
        (Digits, "split", "val"),
    ],
)
def test_a_bad_value_names_its_field(kind, field, value):
    with pytest.raises(ValueError, match=f"data.{field} must"):
        kind(**{field: value})


def test_an_unknown_toy_set_offers_the_nearest():
    with pytest.raises(ValueError, match="no toy set is called 's_curv'; nearest: s_curve"):
        Toy("s_curv")


def test_fields_are_typed_for_the_command_line():
    arguments = ["--image-size", "32", "48", "--flip", "--background", "0", "0", "0"]
    folder = tyro.cli(ImageFolder, args=arguments)
    assert folder == ImageFolder(image_size=(32, 48), flip=True, background=(0, 0, 0))
    assert tyro.cli(Digits, args=["--image-size", "32"]).size == (32, 32)


@pytest.mark.parametrize("name", BY_NAME)
def test_every_field_is_explained_on_the_command_line(name, capsys):
    with pytest.raises(SystemExit):
        tyro.cli(BY_NAME[name], args=["--help"])
    text = capsys.readouterr().out
    for field in dataclasses.fields(BY_NAME[name]):
        assert f"--{field.name.replace('_', '-')}" in text
    words = {"image_size": "the shorter side", "dir": "The"}
    words |= {"num": "How many vectors"} if name == "toy" else {}
    for field, explanation in words.items():
        if hasattr(BY_NAME[name](), field):
            assert explanation in " ".join(text.replace("│", " ").split())


@pytest.mark.parametrize(
    "data",
    [
        Toy("moons", num=5, noise=0.1),
        Digits("all", image_size=(6, 7), flip=True),
        ImageFolder(dir="a", background=(1, 2, 3), captions=True),
        ArrayFile(dir="a.npy", labels=False),
        TFDS("mnist", image_size=8),
    ],
)
def test_a_record_survives_json(data):
    assert type(data)(**json.loads(json.dumps(dataclasses.asdict(data)))) == data
    assert type(data) in BY_NAME.values()


def test_random_crops_are_cut_from_more_pixels_than_they_give():
    assert Digits(image_size=32).stored_size == (32, 32)
    assert Digits(image_size=(32, 16), random_crop=0.2).stored_size == (40, 20)
    assert Digits(random_crop=0.2).stored_size is None
