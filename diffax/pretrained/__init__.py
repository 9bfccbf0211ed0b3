"""Published checkpoints in JAX: networks, tokenizers and whole pipelines, without PyTorch.

>>> from diffax.pretrained import load_pipeline, text_to_image
>>> pipe = load_pipeline("stable-diffusion-v1-5")  # doctest: +SKIP
>>> images = text_to_image(pipe, "an astronaut riding a horse", seed=0)  # doctest: +SKIP
"""

from diffax.pretrained.generate import (
    class_to_image,
    image_to_image,
    refine,
    text_to_image,
    unconditional,
    variations,
)
from diffax.pretrained.inpainting import inpaint, outpaint
from diffax.pretrained.loading import load_pipeline
from diffax.pretrained.network import LoadedNetwork, load_network
from diffax.pretrained.options import Options
from diffax.pretrained.pipeline import Pipeline
from diffax.pretrained.tokenizer import Tokenizer, load_tokenizer

__all__ = [
    "LoadedNetwork",
    "Options",
    "Pipeline",
    "Tokenizer",
    "class_to_image",
    "image_to_image",
    "inpaint",
    "load_network",
    "load_pipeline",
    "load_tokenizer",
    "outpaint",
    "refine",
    "text_to_image",
    "unconditional",
    "variations",
]
