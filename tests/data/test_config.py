"""Values that are refused before any data are looked at, and names that lead nowhere."""

import dataclasses

import pytest
import tyro

from diffax.data import DataConfig, load


@pytest.mark.parametrize(
    "field, value",
    [
        ("random_crop", 1.0),
        ("random_crop", -0.1),
        ("channels", 4),
        ("cache_mb", -1),
        ("points", -5),
        ("data_seed", -1),
        ("noise", -1.0),
        ("noise", float("nan")),
        ("divisor", 0.0),
        ("background", (0, 0, 256)),
        ("image_size", 0),
        ("image_size", (8, -8)),
    ],
)
def test_a_bad_value_names_its_field(field, value):
    with pytest.raises(ValueError, match=f"data.{field} must"):
        DataConfig(**{field: value})


@pytest.mark.parametrize(
    "config, message",
    [
        (DataConfig("s_curv"), "no data set is called 's_curv'; nearest: s_curve"),
        (DataConfig("cifar11"), "no data set is called 'cifar11'; nearest: .*cifar10"),
        (DataConfig("a b"), "name as name.* got 'a b'"),
        (DataConfig("s_curve", flip=True), "data.flip = True has no meaning for s_curve"),
        (DataConfig("digits", points=5), "data.points = 5 has no meaning for digits"),
        (DataConfig("s_curve", split="all"), "splits train and test .*got 'all'"),
        (DataConfig("digits", split="val"), "splits train, test and all, got 'val'"),
    ],
)
def test_what_cannot_be_loaded_says_why(config, message, tmp_path):
    if config.name in ("cifar11",):
        config = dataclasses.replace(config, dir=str(tmp_path))
    with pytest.raises(ValueError, match=message):
        load(config)


def test_fields_are_typed_for_the_command_line():
    arguments = ["--image-size", "32", "48", "--flip", "--background", "0", "0", "0"]
    config = tyro.cli(DataConfig, args=arguments)
    assert config == DataConfig(image_size=(32, 48), flip=True, background=(0, 0, 0))
    assert tyro.cli(DataConfig, args=["--image-size", "32"]).size == (32, 32)


def test_a_config_survives_json():
    config = DataConfig("digits", image_size=(6, 6))
    back = DataConfig(**(dataclasses.asdict(config) | {"image_size": [6, 6]}))
    back = dataclasses.replace(back, background=[255, 255, 255])
    assert load(back).shape == (6, 6, 1)


def test_random_crops_are_cut_from_more_pixels_than_they_give():
    assert DataConfig(image_size=32).stored_size == (32, 32)
    assert DataConfig(image_size=(32, 16), random_crop=0.2).stored_size == (40, 20)
    assert DataConfig(random_crop=0.2).stored_size is None
