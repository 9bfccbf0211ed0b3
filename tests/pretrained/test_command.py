"""sample.py --pretrained, on a tiny Stable Diffusion in a folder."""

import json

import numpy as np
import pytest
from PIL import Image
from tiny_models import image, mask
from tiny_pipelines import components

from diffax.commands import sample as command


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("models") / "tiny"
    components("sd").save(place)
    return place


def draw(folder, *arguments):
    arguments = ["--pretrained", folder, "--steps", 2, "--quiet", *arguments]
    return command.main([str(a) for a in arguments])


def test_a_prompt_becomes_an_image_that_knows_its_recipe(folder, tmp_path):
    out = tmp_path / "out.png"
    prompt = ["--prompt", "a (red:1.2) b", "--negative", "c", "--seed", 3, "--sampler", "dpmpp_2m"]
    assert draw(folder, *prompt, "--out", out) == 0
    recipe = json.loads(Image.open(out).text["diffax"])
    assert recipe == {
        "model": "tiny",
        "prompt": "a (red:1.2) b",
        "negative": "c",
        "sampler": "dpmpp_2m",
        "steps": 2,
        "seed": 3,
    }


@pytest.mark.slow
def test_editing_an_image(folder, tmp_path):
    pixels = np.rint((image() + 1) * 127.5).astype(np.uint8)
    Image.fromarray(pixels.reshape(pixels.shape[-3:])).save(tmp_path / "image.png")
    anew = (np.squeeze(mask()) > 0.5).astype(np.uint8) * 255
    Image.fromarray(anew).save(tmp_path / "mask.png")
    edit = ["--prompt", "a", "--init-image", tmp_path / "image.png"]
    out = tmp_path / "out.npz"
    assert draw(folder, *edit, "--strength", 0.5, "--out", out) == 0
    assert np.load(out)["arr_0"].shape == (1, *pixels.shape[-3:])
    assert draw(folder, *edit, "--mask", tmp_path / "mask.png", "--out", out) == 0
    assert np.load(out)["arr_0"].dtype == np.uint8

    Image.fromarray(anew[:-1]).save(tmp_path / "small.png")
    assert draw(folder, *edit, "--mask", tmp_path / "small.png", "--out", out) == 2


BAD = {
    "no prompt": ([], "--prompt TEXT is missing"),
    "empty prompt": (["--prompt", ""], "prompt"),
    "odd size": (["--prompt", "a", "--height", "33", "--width", "32"], "multiple"),
    "label": (["--prompt", "a", "--label", "1"], "class-conditional"),
    "checkpoint": (["--prompt", "a", "--checkpoint", "1"], "--workdir"),
    "unknown sampler": (["--prompt", "a", "--sampler", "dpmp_2m"], "dpmpp_2m"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_status_2(folder, capsys, tmp_path, monkeypatch, case):
    monkeypatch.chdir(tmp_path)
    arguments, message = BAD[case]
    assert draw(folder, *arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and message in error


def test_a_folder_that_is_no_model(tmp_path, capsys):
    assert draw(tmp_path, "--prompt", "a") == 2
    assert "model_index.json" in capsys.readouterr().err
