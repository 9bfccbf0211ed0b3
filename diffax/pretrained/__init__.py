"""Published checkpoints in JAX, read and written without PyTorch.

>>> from diffax.generation import text_to_image
>>> from diffax.pretrained import load_pipeline
>>> model = load_pipeline("stable-diffusion-v1-5")  # doctest: +SKIP
>>> images = text_to_image(model, "an astronaut riding a horse", seed=0)  # doctest: +SKIP
"""

from diffax.pretrained.clip import PublishedCLIP, load_clip
from diffax.pretrained.components import Components
from diffax.pretrained.image_prompt import with_image_prompt
from diffax.pretrained.loading import load_components, load_pipeline, save_pipeline
from diffax.pretrained.lora import Lora, load_lora, save_lora, trained_lora, with_loras
from diffax.pretrained.network import load_network, save_network
from diffax.pretrained.new_token import token_vectors, with_token
from diffax.pretrained.papers import load_original
from diffax.pretrained.parts import parts_of, with_parts
from diffax.pretrained.perceptual import LPIPS, PERCEPTUAL
from diffax.pretrained.published import Published, components_of, model_of
from diffax.pretrained.schedulers import from_diffusers
from diffax.pretrained.starting import (
    CODECS,
    CONDITIONERS,
    NETWORKS,
    PARAMETERIZATIONS,
    SCHEDULES,
    ControlReader,
    EditingNetwork,
    EditReader,
    NewControl,
    PublishedAutoencoder,
    PublishedNetwork,
    PublishedReader,
    PublishedSchedule,
    PublishedTarget,
    TokenReader,
    placed,
    published_parts,
)
from diffax.pretrained.token_files import save_embedding, with_embedding
from diffax.pretrained.tokenizer import Tokenizer, load_tokenizer

__all__ = [
    "CODECS",
    "CONDITIONERS",
    "LPIPS",
    "NETWORKS",
    "PARAMETERIZATIONS",
    "PERCEPTUAL",
    "SCHEDULES",
    "Components",
    "ControlReader",
    "EditReader",
    "EditingNetwork",
    "Lora",
    "NewControl",
    "Published",
    "PublishedAutoencoder",
    "PublishedCLIP",
    "PublishedNetwork",
    "PublishedReader",
    "PublishedSchedule",
    "PublishedTarget",
    "TokenReader",
    "Tokenizer",
    "components_of",
    "from_diffusers",
    "load_clip",
    "load_components",
    "load_lora",
    "load_network",
    "load_original",
    "load_pipeline",
    "load_tokenizer",
    "model_of",
    "parts_of",
    "placed",
    "published_parts",
    "save_embedding",
    "save_lora",
    "save_network",
    "save_pipeline",
    "token_vectors",
    "trained_lora",
    "with_embedding",
    "with_image_prompt",
    "with_loras",
    "with_parts",
    "with_token",
]
