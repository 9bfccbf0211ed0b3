"""Add-ons of the tiny Stable Diffusion make what diffusers makes, as make_addons.py stored it."""

from pathlib import Path

import jax
import numpy as np
import pytest
import tiny_models as tiny
import tiny_pipelines

from diffax.generation import text_to_image, with_controls

GOLDEN = np.load(Path(__file__).parents[1] / "golden/pretrained/addons.npz")

# The issue asks for 1e-3; three float32 steps give 1e-6 to 1e-5.
TOLERANCE = 5e-5

ASKED = dict(
    negative=tiny.NEGATIVE, guidance=tiny.GUIDANCE, steps=3, noise=tiny.noise(), decode=False,
    height=32, width=24, sampler="ddim",
)  # fmt: skip


def close(ours, name):
    golden = GOLDEN[name]
    assert ours.shape == golden.shape
    assert np.abs(ours - golden).max() <= TOLERANCE * np.abs(golden).max(), name


def test_image_encoder():
    network = tiny_pipelines.network(tiny.ADDONS["clip_vision"])
    out = jax.jit(network.module.apply)(network.params, tiny.draws("clip image", 2, 28, 28, 3))
    close(out.hidden[-2][:, ::8], "clip image hidden")
    close(out.projected, "clip image projected")


def controlled(family, *names):
    controls = [tiny_pipelines.network(tiny.ADDONS[name]) for name in names]
    return with_controls(tiny_pipelines.pipeline(family), *controls)


@pytest.fixture(scope="module")
def one():
    return controlled("sd", "controlnet")


def test_one_control(one):
    asked = dict(control=tiny.control_images()[0], control_scale=0.7)
    close(text_to_image(one, tiny.PROMPTS, **ASKED, **asked), "control one")
    other = text_to_image(one, tiny.PROMPTS, **ASKED, **asked | {"control_scale": 0.0})
    assert np.abs(other - GOLDEN["control one"]).max() > 1e-2


@pytest.mark.slow
def test_two_controls():
    model = controlled("sd", "controlnet", "controlnet_2")
    asked = dict(control=list(tiny.control_images()), control_scale=[0.7, 0.4])
    close(text_to_image(model, tiny.PROMPTS, **ASKED, **asked), "control two")


@pytest.mark.slow
def test_guess_mode(one):
    asked = dict(control=tiny.control_images()[0], control_scale=0.7, control_guess=True)
    close(text_to_image(one, tiny.PROMPTS, **ASKED, **asked), "control guess")


@pytest.mark.slow
def test_control_of_xl():
    model = controlled("sdxl", "controlnet_xl")
    close(
        text_to_image(model, tiny.PROMPTS, **ASKED, control=tiny.control_images()[0]), "control xl"
    )


@pytest.mark.parametrize(
    "name",
    ["t2i_light", *(pytest.param(n, marks=pytest.mark.slow) for n in ("t2i", "t2i_xl"))],
)
def test_features_of_adapters(name):
    network = tiny_pipelines.network(tiny.ADDONS[name])
    image = (tiny.control_images()[:1] + 1) / 2
    for i, feature in enumerate(network(image)):
        close(feature, f"{name} {i}")


@pytest.mark.slow
def test_adapter():
    asked = dict(control=tiny.control_images()[0], control_scale=0.8)
    close(text_to_image(controlled("sd", "t2i"), tiny.PROMPTS, **ASKED, **asked), "t2i drawn")


def test_an_adapter_for_another_model_is_refused():
    with pytest.raises(ValueError, match="T2I-Adapter was made for another base model"):
        controlled("sd", "t2i_xl")
    with pytest.raises(ValueError, match="not both"):
        controlled("sd", "t2i", "controlnet")
    with pytest.raises(ValueError, match="got a CLIPVisionModelWithProjection"):
        controlled("sd", "clip_vision")


REFUSED = {
    "none": ({}, "follows 1 control image"),
    "two": ({"control": [np.zeros((32, 24, 3))] * 2}, "expected 1 control images"),
    "size": ({"control": np.zeros((16, 16, 3))}, "32x24, got 16x16"),
    "scale": ({"control": np.zeros((32, 24, 3)), "control_scale": -1.0}, "control_scale"),
}


@pytest.mark.parametrize("name", list(REFUSED))
def test_what_is_refused(one, name):
    asked, words = REFUSED[name]
    with pytest.raises(ValueError, match=words):
        text_to_image(one, tiny.PROMPTS, **ASKED, **asked)


def test_a_control_for_another_model_is_refused():
    with pytest.raises(ValueError, match="made for another base model"):
        controlled("sd", "controlnet_xl")
    with pytest.raises(ValueError, match="says nothing to this model"):
        text_to_image(tiny_pipelines.pipeline("sd"), "a", control=np.zeros((32, 24, 3)))
