"""sample.py with add-ons, on the tiny Stable Diffusion in a folder."""

import json

import numpy as np
import pytest
import safetensors.numpy
import tiny_models as tiny
from PIL import Image
from tiny_pipelines import components, network

from diffax.commands import sample as command
from diffax.pretrained import save_network


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A model, a LoRA, a new token, a ControlNet and an image."""
    place = tmp_path_factory.mktemp("addons")
    components("sd").save(place / "tiny")
    lora = {key: np.asarray(value) for key, value in tiny.lora("peft").items()}
    safetensors.numpy.save_file(lora, place / "lora.safetensors")
    safetensors.numpy.save_file({"<toy>": tiny.draws("toy", 2, 32)}, place / "toy.safetensors")
    save_network(network(tiny.ADDONS["controlnet"]), place / "control")
    pixels = np.rint((tiny.image() + 1) * 127.5).astype(np.uint8)
    Image.fromarray(pixels).save(place / "image.png")
    return place


def draw(place, *arguments):
    base = ["--pretrained", place / "tiny", "--steps", 2, "--quiet", "--prompt", "a <toy>"]
    return command.main([str(a) for a in [*base, *arguments]])


@pytest.mark.slow
def test_all_of_them_together(place, tmp_path):
    out = tmp_path / "out.png"
    addons = [
        "--lora",
        f"{place / 'lora.safetensors'}:0.5",
        "--embedding",
        place / "toy.safetensors",
    ]
    control = ["--control", place / "control", "--control-image", place / "image.png"]
    assert draw(place, *addons, *control, "--control-scale", 0.5, "--out", out) == 0
    recipe = json.loads(Image.open(out).text["diffax"])
    assert recipe["control_scale"] == [0.5] and recipe["lora"][0].endswith(":0.5")


BAD = {
    "no lora": (["--lora", "missing.safetensors"], "missing.safetensors: no such file"),
    "no image": (["--control", "control"], "give one image for each control"),
    "no control": (["--control-image", "image.png"], "needs --control"),
    "scales": (
        ["--control", "c", "--control-image", "i", *["--control-scale", "1"] * 2],
        "one --control-scale",
    ),
    "no encoder": (["--ip-adapter", "ip"], "needs --image-encoder DIR and --image-prompt F"),
    "a token for another model": (["--embedding", "wide.safetensors"], "another base model"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_status_2(place, capsys, monkeypatch, case):
    monkeypatch.chdir(place)
    wide = {"<wide>": np.zeros((1, 48), np.float32)}
    safetensors.numpy.save_file(wide, place / "wide.safetensors")
    arguments, message = BAD[case]
    assert draw(place, *arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and message in error
