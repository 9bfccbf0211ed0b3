"""The published x4 upscaler, tiny, makes what diffusers makes of a small image."""

import jax
import numpy as np
import pytest
import tiny_models as tiny
import tiny_pipelines
from test_addons import ASKED, close

from diffax.generation import generate
from diffax.pretrained import load_pipeline, save_pipeline
from diffax.pretrained.upscaling import PublishedLowRes


@pytest.fixture(scope="module")
def model():
    return tiny_pipelines.pipeline("upscaler")


@pytest.mark.slow
def test_images_are_the_references(model, monkeypatch):
    noise = tiny.small_noise()
    monkeypatch.setattr(PublishedLowRes, "noise", staticmethod(lambda seed, i, shape: noise[i]))
    asked = dict(low_res=tiny.small_images(), noise_level=30, prompt=tiny.PROMPTS)
    close(generate(model, **ASKED, **asked).data, "upscaler")


@pytest.mark.slow
def test_the_folder_both_ways(model, tmp_path):
    save_pipeline(model, tmp_path / "x2")
    again = load_pipeline(tmp_path / "x2")
    assert again.settings.low_res == model.settings.low_res
    assert again.conditioner.factor == 2 and again.conditioner.parts[1].most == 39
    jax.tree.map(np.testing.assert_array_equal, again.network.params, model.network.params)


def test_what_is_refused(model):
    asked = dict(prompt="a", **ASKED | {"noise": None})
    small = tiny.small_images()[:1]
    with pytest.raises(ValueError, match="give low_res"):
        generate(model, **asked)
    with pytest.raises(ValueError, match="whole number from 0 to 39"):
        generate(model, low_res=small, noise_level=40, **asked)
    with pytest.raises(ValueError, match="16x12 for samples of 32x24"):
        generate(model, low_res=small[:, :8], **asked)
    with pytest.raises(ValueError, match=r"low_res: expected a colour image \[H, W, 3\]"):
        generate(model, low_res=small[..., :1], **asked)
