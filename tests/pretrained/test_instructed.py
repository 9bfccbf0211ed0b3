"""InstructPix2Pix, tiny, makes what diffusers makes of an image and a text."""

import numpy as np
import pytest
import tiny_models as tiny
import tiny_pipelines
from test_addons import ASKED, close

from diffax.generation import text_to_image

SIZED = {name: value for name, value in ASKED.items() if name not in ("height", "width")}


@pytest.mark.slow
def test_images_are_the_references():
    model = tiny_pipelines.pipeline("instructed")
    asked = dict(image=tiny.image(), image_guidance=1.2)
    close(text_to_image(model, tiny.PROMPTS, **SIZED, **asked), "instructed")


def test_what_is_refused():
    model = tiny_pipelines.pipeline("instructed")
    with pytest.raises(ValueError, match="edits an image as a text says: give image"):
        text_to_image(model, "a", **SIZED | {"noise": None})
    with pytest.raises(ValueError, match="takes no mask and no strength"):
        text_to_image(model, "a", image=tiny.image(), strength=0.5)
    with pytest.raises(ValueError, match="image_guidance is for models that edit"):
        text_to_image(tiny_pipelines.pipeline("sd"), "a", image_guidance=2.0)
    with pytest.raises(ValueError, match="image_guidance must be finite"):
        text_to_image(model, "a", image=np.zeros((32, 24, 3)), image_guidance=-1.0)
