"""The depth model, tiny, makes what diffusers makes of an image, a depth map and a text."""

import numpy as np
import pytest
import tiny_models as tiny
import tiny_pipelines
from test_addons import ASKED, close

from diffax.generation import image_to_image, text_to_image
from diffax.generation.depth import depth_channel
from diffax.pretrained import load_pipeline, save_pipeline

SIZED = {name: value for name, value in ASKED.items() if name not in ("height", "width")}


@pytest.mark.slow
def test_images_are_the_references():
    # diffusers counts 5 steps, of which strength 0.6 leaves 3.
    model = tiny_pipelines.pipeline("depth")
    asked = dict(depth=tiny.depths(), strength=0.6)
    close(image_to_image(model, tiny.PROMPTS, tiny.image(), **SIZED, **asked), "depth")


@pytest.mark.slow
def test_depth_alone_is_followed_too():
    model = tiny_pipelines.pipeline("depth")
    draw = lambda depth: text_to_image(model, tiny.PROMPTS, **ASKED, depth=depth)
    one, other = (draw(depth) for depth in tiny.depths())
    assert np.abs(one - other).max() > 1e-2
    again = draw(7 * tiny.depths()[0] - 3)  # has no unit
    np.testing.assert_allclose(again, one, atol=1e-4)


def test_a_folder_comes_back(tmp_path):
    model = tiny_pipelines.pipeline("depth")
    save_pipeline(model, tmp_path / "depth")
    assert '"StableDiffusionDepth2ImgPipeline"' in (tmp_path / "depth/model_index.json").read_text()
    again = load_pipeline(tmp_path / "depth")
    assert again.network.module == model.network.module


def test_channel():
    depth = np.random.RandomState(0).rand(2, 12, 20)
    np.testing.assert_allclose(  # of the size wanted already: stretched only
        depth_channel(depth, (12, 20), 2)[..., 0],
        2 * (depth - depth.min((1, 2), keepdims=True)) / np.ptp(depth, (1, 2), keepdims=True) - 1,
        atol=1e-6,
    )
    slope = np.linspace(0, 1, 64)[None] * np.ones((32, 1))
    small = np.asarray(depth_channel(slope, (8, 16), 3))
    assert small.shape == (3, 8, 16, 1)
    inside = small[0, :, 1:-1, 0]  # cubic interpolation is exact on slopes, but at the edge
    np.testing.assert_allclose(np.diff(inside, axis=1), np.diff(inside, axis=1)[0, 0], atol=1e-6)


def test_what_is_refused():
    model = tiny_pipelines.pipeline("depth")
    plain = tiny_pipelines.pipeline("sd")
    for own, options, words in (
        (model, {}, "follows a depth map: give depth"),
        (plain, {"depth": tiny.depths()[0]}, "depth says nothing to this model"),
        (model, {"depth": np.ones((8, 8))}, "one single value"),
        (model, {"depth": np.full((8, 8), np.nan)}, "finite depths"),
        (model, {"depth": np.zeros((3, 8, 8))}, r"expected one depth map \[H, W\], or 1"),
    ):
        with pytest.raises(ValueError, match=words):
            text_to_image(own, "a", **options)
