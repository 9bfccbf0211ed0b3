"""The tiny models in memory, as components and as models."""

from __future__ import annotations

import functools

import tiny_models

from diffax.generation import Model
from diffax.models.bound import BoundModule
from diffax.pretrained import Components, Tokenizer, filling, model_of, naming
from diffax.pretrained.configs import module_from_config, parameter_shapes
from diffax.pretrained.tokenizer import byte_letters, from_vocabulary
from diffax.pretrained.weights import Tensors

SETTINGS = {
    "sdxl": {"force_zeros_for_empty_prompt": True},
    "upscaler": {"max_noise_level": 39},
    "refiner": {"requires_aesthetics_score": True},
}


class Formula(Tensors):
    """The tensors a tiny network has, by tiny_models' formula."""

    def __init__(self, shapes):
        flat = filling.leaves(shapes)
        self._shapes = {
            key: naming.published_shape(leaf, value.shape) for key, (leaf, value) in flat.items()
        }
        super().__init__(self._shapes)

    def shape(self, name):
        return self._shapes[name]

    def __getitem__(self, name):
        return tiny_models.weight(name, self._shapes[name])


def network(config, **options) -> BoundModule:
    module = module_from_config(config, **options)
    shapes = parameter_shapes(module)
    return BoundModule(module, filling.fill(shapes, Formula(shapes)))


def tokenizer(pad: str) -> Tokenizer:
    tokens = tiny_models.vocabulary(byte_letters())
    numbers = {token: i for i, token in enumerate(tokens)}
    backend = from_vocabulary(numbers, tiny_models.MERGES)
    backend.add_special_tokens([pad])
    return Tokenizer(backend, tiny_models.START, tiny_models.END, numbers[pad])


def components(family: str, **options) -> Components:
    configs = tiny_models.PIPELINES[family]
    texts = [name for name in configs if name.startswith("text_encoder")]
    return Components(
        unet=network(configs["unet"], **options),
        vae=network(configs["vae"]),
        text_encoders=tuple(network(configs[name]) for name in texts),
        tokenizers=tuple(
            tokenizer(tiny_models.pad_token(family, int(name != "text_encoder"))) for name in texts
        ),
        scheduler=configs["scheduler"],
        settings=SETTINGS.get(family, {}),
        low_res_scheduler=tiny_models.LOW_RES_SCHEDULER if family == "upscaler" else None,
    )


@functools.cache
def pipeline(family: str, **options) -> Model:
    """The same model for all tests of a process: nothing in it can be changed."""
    return model_of(components(family, **options))
