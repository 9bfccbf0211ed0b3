"""Stable Diffusion with random weights: nothing is downloaded, speed and memory are the same."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from diffax.models.bound import BoundModule
from diffax.pretrained import Components, Tokenizer
from diffax.pretrained.configs import module_from_config, parameter_shapes
from diffax.pretrained.families import FAMILIES
from diffax.pretrained.tokenizer import byte_letters, from_vocabulary

PROMPT = "a photograph of an astronaut riding a horse"


def random_components(
    family: str, dtype: str = "float32", unet: dict[str, Any] | None = None
) -> Components:
    """All networks of a family, and a tokenizer of single letters.

    Args:
        family: a name in `diffax.pretrained.families`.
        dtype: of weights and computation; what the family keeps in float32 stays there.
        unet: what is other than in the family's config of the U-Net.
    """
    configs = FAMILIES[family] | {"unet": FAMILIES[family]["unet"] | (unet or {})}
    texts = [configs[name] for name in configs if name.startswith("text_encoder")]
    letters = byte_letters()
    vocabulary = {t: i for i, t in enumerate([*letters, *(c + "</w>" for c in letters)])}
    draws = np.random.default_rng(0)
    return Components(
        unet=random_network(configs["unet"], dtype, draws),
        vae=random_network(configs["vae"], dtype, draws),
        text_encoders=tuple(random_network(config, dtype, draws) for config in texts),
        tokenizers=(Tokenizer(from_vocabulary(vocabulary, [])),) * len(texts),
        scheduler=configs["scheduler"],
    )


def random_network(config: dict[str, Any], dtype: str, draws: np.random.Generator) -> BoundModule:
    """A network of a config, its kernels scaled by their fan-in so that nothing overflows."""
    kind = "float32" if config.get("force_upcast", False) else dtype
    module = module_from_config(config, dtype=kind, param_dtype=kind)

    def value(leaf: jax.ShapeDtypeStruct) -> jax.Array:
        scale = 1 / np.sqrt(max(1, np.prod(leaf.shape[:-1]))) if len(leaf.shape) > 1 else 0.1
        return jnp.asarray(draws.standard_normal(leaf.shape, np.float32) * scale, leaf.dtype)

    return BoundModule(module, jax.tree.map(value, parameter_shapes(module)))
