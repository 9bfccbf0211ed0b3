"""IP-Adapter on the tiny Stable Diffusion makes what diffusers makes."""

import jax
import numpy as np
import pytest
import safetensors.numpy
import tiny_models as tiny
import tiny_pipelines
from test_addons import ASKED, close

from diffax.generation import text_to_image
from diffax.pretrained import components_of, with_image_prompt


@pytest.fixture(scope="module")
def encoder():
    return tiny_pipelines.network(tiny.ADDONS["clip_vision"])


def extended(folder, encoder, changes=None, family="sd"):
    tensors = tiny.image_prompt() | (changes or {})
    safetensors.numpy.save_file(tensors, folder / "ip.safetensors")
    return with_image_prompt(tiny_pipelines.pipeline(family), folder / "ip.safetensors", encoder)


@pytest.mark.slow
def test_images_are_the_references(encoder, tmp_path):
    model = extended(tmp_path, encoder)
    asked = dict(image_prompt=tiny.image(), image_prompt_scale=0.6)
    ours = text_to_image(model, tiny.PROMPTS, **ASKED, **asked)
    close(ours, "image prompt")
    with pytest.raises(ValueError, match="give image_prompt"):
        text_to_image(model, tiny.PROMPTS, **ASKED)


def test_the_base_model_is_saved_without_it(encoder, tmp_path):
    model = extended(tmp_path, encoder)
    saved, base = components_of(model).unet, tiny_pipelines.pipeline("sd").network
    assert saved.module == base.module
    jax.tree.map(np.testing.assert_array_equal, saved.params, base.params)


@pytest.mark.slow
def test_a_resampler_looks_at_all_of_the_image(encoder, tmp_path):
    safetensors.numpy.save_file(tiny.image_prompt(plus=True), tmp_path / "plus.safetensors")
    base = tiny_pipelines.pipeline("sd")
    model = with_image_prompt(base, tmp_path / "plus.safetensors", encoder)
    asked = dict(image_prompt=tiny.image(), image_prompt_scale=0.6)
    close(text_to_image(model, tiny.PROMPTS, **ASKED, **asked), "image prompt plus")


REFUSED = {
    "face": (
        {"image_proj.proj.3.weight": np.zeros(8, np.float32)},
        "Full Face is not supported",
    ),
    "encoder": ({"image_proj.proj.weight": np.zeros((128, 20), np.float32)}, "20 numbers"),
    "width": ({"image_proj.norm.weight": np.zeros(48, np.float32)}, "48 wide"),
    "layer": (
        {"ip_adapter.7.to_k_ip.weight": np.zeros((32, 32), np.float32)},
        r"another base model: ip_adapter.7.to_k_ip.weight should be \(64, 32\)",
    ),
}


@pytest.mark.parametrize("name", list(REFUSED))
def test_what_is_refused(encoder, tmp_path, name):
    changes, words = REFUSED[name]
    with pytest.raises(ValueError, match=words):
        extended(tmp_path, encoder, changes)
