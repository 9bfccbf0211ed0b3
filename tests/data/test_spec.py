"""What a data set says about itself."""

import json

import pytest

from diffax.data import Column, Digits, Spec, Toy

FULL = Spec(
    {"x": Column((4, 2), "float32"), "label": Column((), "int32"), "caption": Column((), "str")},
    size=7,
    class_names=("cat", "d\u00f6g"),
    mean=(0.1, -1e-300),
    std=(1.0, 3.0000000000000004),
)


@pytest.mark.parametrize(
    "spec", [FULL, Digits().load().spec, Digits(labels=False).load().spec, Toy("moons").load().spec]
)
def test_it_survives_json_to_the_last_bit(spec):
    assert Spec.from_json(json.loads(json.dumps(spec.to_json()))) == spec


def test_images_are_told_by_type_and_shape():
    kinds = {
        ((8, 8, 1), "uint8"): True,
        ((8, 8, 4), "float32"): False,  # latents
        ((2,), "float32"): False,
        ((16, 8), "float32"): False,
        ((8,), "uint8"): False,
    }
    assert {key: Spec({"x": Column(*key)}, 1).is_image for key in kinds} == kinds


@pytest.mark.parametrize(
    "change",
    [
        {"size": "7"},
        {"size": -1},
        {"size": True},
        {"columns": {}},
        {"columns": [1]},
        {"columns": {"x": {"shape": 3, "dtype": "uint8"}}},
        {"columns": {"x": {"shape": [2.5], "dtype": "uint8"}}},
        {"columns": {"x": {"shape": [2], "dtype": None}}},
        {"size": 2**63},
        {"columns": {"x": {"shape": [2, 10**9], "dtype": "float32"}}},
        {"columns": {"x": {"shape": [2], "dtype": ""}}},
        {"columns": {"x": {"shape": [2], "dtype": "x\ny"}}},
        {"columns": {"x": {"shape": [2], "dtype": ["float32"]}}},
        {"mean": [10**400, 0.0]},
        {"std": [float("nan"), 1.0]},
        {"class_names": [1]},
        {"class_names": None},
        {"mean": None},
        {"mean": [1.0]},
        {"std": ["a", "b"]},
    ],
)
def test_damaged_json_is_one_line(change):
    data = json.loads(json.dumps(FULL.to_json() | change))
    with pytest.raises(ValueError, match="^expected [^\n]*$"):
        Spec.from_json(data)
    for key in change:
        del data[key]
        with pytest.raises(ValueError, match="^expected [^\n]*$"):
            Spec.from_json(data)


@pytest.mark.parametrize("data", [None, [], "x", 3])
def test_what_is_no_record_is_one_line(data):
    with pytest.raises(ValueError, match="^expected the spec [^\n]*$"):
        Spec.from_json(data)
