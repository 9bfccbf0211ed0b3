"""Models from the original single files (CompVis, Stability), `.safetensors` or `.ckpt`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp

from diffax.models import (
    AutoencoderKL,
    ClassEmbedder,
    CLIPTextModel,
    UNet2DConditionModel,
    UNet2DModel,
    VQModel,
)
from diffax.models.bound import BoundModule
from diffax.pretrained import families, naming, original
from diffax.pretrained.components import Components
from diffax.pretrained.configs import module_from_config, parameter_shapes
from diffax.pretrained.files import open_file
from diffax.pretrained.filling import fill
from diffax.pretrained.tokenizer import load_tokenizer
from diffax.pretrained.weights import Subset, Tensors


def load_single_file(
    file: Path,
    options: Mapping[str, Any],
    tokenizer: str | Path | None,
    configs: Mapping[str, Any] | None,
    ema: bool,
    query_chunk: int | None,
) -> Components:
    """What an original single file holds; arguments and errors as in `load_pipeline`."""
    tensors = open_file(file)
    if tokenizer is None and families.CLASS_TABLE not in tensors:
        raise ValueError(
            f"{file}: a single file has no tokenizer; give tokenizer= a tokenizer's folder or "
            "CLIP's bpe_simple_vocab_16e6.txt.gz"
        )
    try:
        family, known = families.family_of(tensors) if configs is None else (None, configs)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error
    parts, used = {}, []
    for part, config in known.items():
        if part != "scheduler":
            parts[part] = _component(file, tensors, part, config, options, query_chunk, used, ema)
    left = [n for n in tensors if not n.startswith(tuple(used))]
    left = sorted(set(left) - naming.harmless(left, original.OUTSIDE))
    if left:
        raise ValueError(f"{file}: {len(left)} tensors belong to no component: {left[:20]}")
    texts = [part for part in parts if part.startswith("text_encoder")]
    tokenizers = []
    for part in texts:
        if tokenizer is None:
            raise ValueError(f"{file}: its {part} needs tokenizer=, a tokenizer's folder")
        # Only OpenAI's encoder is padded with the end mark; OpenCLIP's are padded with "!", id 0.
        pad = None if parts[part].module.hidden_act == "quick_gelu" else "!"
        tokenizers.append(load_tokenizer(tokenizer, pad))
    settings = {"force_zeros_for_empty_prompt": True} if family == "sdxl" else {}
    if family == "sdxl-refiner":
        settings = {"requires_aesthetics_score": True}
    return Components(
        unet=parts["unet"],
        vae=parts["vae"],
        text_encoders=tuple(parts[t] for t in texts),
        tokenizers=tuple(tokenizers),
        scheduler=dict(known["scheduler"]),
        settings=settings,
        class_embedder=parts.get("class_embedder"),
    )


def _component(
    file: Path,
    tensors: Tensors,
    part: str,
    config: Mapping[str, Any],
    options: Mapping[str, Any],
    query_chunk: int | None,
    used: list[str],
    ema: bool,
) -> BoundModule:
    """One network of a single file; its prefix is added to `used`."""
    found = [p for p in original.PREFIXES[part] if any(n.startswith(p) for n in tensors)]
    if not found:
        raise ValueError(f"{file}: no {part} in it (no name starts with {original.PREFIXES[part]})")
    prefix = found[0]
    used.append(prefix)
    module = module_from_config(config, **network_options(part, config, options, query_chunk))
    inside = Subset(tensors, prefix)
    if isinstance(module, CLIPTextModel):
        fused = "positional_embedding" in inside
        locate = (original.openclip_locator if fused else original.clip_locator)(module)
    elif isinstance(module, (AutoencoderKL, VQModel)):
        locate = original.autoencoder_locator(module)
    elif isinstance(module, ClassEmbedder):
        locate = original.class_locator(module)
    elif isinstance(module, (UNet2DModel, UNet2DConditionModel)):
        locate = original.unet_locator(module)
        if ema:
            inside, plain = tensors, locate

            def locate(key: str) -> naming.Source:
                return naming.Source(original.ema_key(plain(key).key))

    else:
        raise TypeError(f"{type(module).__name__} is in no original file")
    anything = ((r"", "the rest of the file"),)
    params = fill(
        parameter_shapes(module),
        inside,
        locate=locate,
        harmless=anything if ema and part == "unet" else original.LEFTOVER,
        where=f"{file}, {part}",
    )
    return BoundModule(module, params)


def network_options(
    part: str, config: Mapping[str, Any], options: Mapping[str, Any], query_chunk: int | None
) -> dict[str, Any]:
    """Keyword arguments of one network; an autoencoder that overflows stays float32."""
    chosen = dict(options)
    if config.get("force_upcast", False):
        chosen = dict(dtype=jnp.float32, param_dtype=jnp.float32)
    attends_to_pixels = not part.startswith(("text", "class"))
    return chosen | {"query_chunk": query_chunk} if attends_to_pixels else chosen
