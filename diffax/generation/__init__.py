"""Generation: one `Model` for trained runs and published folders, and one `generate` for all.

model = load_run("runs/digits")                 # or load_pipeline("stable-diffusion-v1-5")
samples = generate(model, num=16, labels=[7])   # or prompt="a red fox in the snow"
samples.images                                  # uint8 [16, H, W, C]
"""

from diffax.generation.controls import with_controls
from diffax.generation.generate import generate
from diffax.generation.model import Model
from diffax.generation.pairs import save_pairs
from diffax.generation.plan import Plan, Sampling
from diffax.generation.request import Request
from diffax.generation.samples import Samples
from diffax.generation.tasks import (
    class_to_image,
    image_to_image,
    inpaint,
    outpaint,
    refine,
    text_to_image,
    unconditional,
    upscale,
    variations,
)

__all__ = [
    "Model",
    "Plan",
    "Request",
    "Samples",
    "Sampling",
    "class_to_image",
    "generate",
    "image_to_image",
    "inpaint",
    "outpaint",
    "refine",
    "save_pairs",
    "text_to_image",
    "unconditional",
    "upscale",
    "variations",
    "with_controls",
]
