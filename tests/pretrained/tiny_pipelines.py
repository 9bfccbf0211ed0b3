"""The tiny models as diffax pipelines in memory, and the compiler set to compile fast."""

from __future__ import annotations

import jax
import tiny_models

from diffax.pretrained import (
    LoadedNetwork,
    Pipeline,
    Tokenizer,
    decoding,
    filling,
    naming,
    run,
    text,
)
from diffax.pretrained.configs import module_from_config, parameter_shapes
from diffax.pretrained.tokenizer import byte_letters, from_vocabulary
from diffax.pretrained.weights import Tensors

SETTINGS = {
    "sdxl": {"force_zeros_for_empty_prompt": True},
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


def network(config, **options) -> LoadedNetwork:
    module = module_from_config(config, **options)
    shapes = parameter_shapes(module)
    return LoadedNetwork(module, filling.fill(shapes, Formula(shapes)))


def tokenizer(pad: str) -> Tokenizer:
    tokens = tiny_models.vocabulary(byte_letters())
    numbers = {token: i for i, token in enumerate(tokens)}
    backend = from_vocabulary(numbers, tiny_models.MERGES)
    backend.add_special_tokens([pad])
    return Tokenizer(backend, tiny_models.START, tiny_models.END, numbers[pad])


def pipeline(family: str, **options) -> Pipeline:
    configs = tiny_models.PIPELINES[family]
    texts = [name for name in configs if name.startswith("text_encoder")]
    return Pipeline(
        unet=network(configs["unet"], **options),
        vae=network(configs["vae"]),
        text_encoders=tuple(network(configs[name]) for name in texts),
        tokenizers=tuple(
            tokenizer(tiny_models.pad_token(family, int(name != "text_encoder"))) for name in texts
        ),
        scheduler=configs["scheduler"],
        settings=SETTINGS.get(family, {}),
    )


def fast(f, **options):
    """`jax.jit` that compiles fast: LLVM's optimizations change no result but cost seconds."""
    return jax.jit(f, compiler_options={"xla_backend_optimization_level": 0}, **options)


# The pipelines' own programs, one object each for the whole session, as in the library.
SAMPLE = fast(run.sample, static_argnames="on_step")
ENCODE_TEXT = fast(text._encode_impl, static_argnums=(3, 4))
DECODE = fast(decoding._decode_impl)
ENCODE = fast(decoding._encode_impl)


def compile_fast(monkeypatch) -> None:
    """Makes the pipelines use these."""
    monkeypatch.setattr(run, "_sample", SAMPLE)
    monkeypatch.setattr(text, "_encode", ENCODE_TEXT)
    monkeypatch.setattr(decoding, "_decode", DECODE)
    monkeypatch.setattr(decoding, "_encode", ENCODE)
