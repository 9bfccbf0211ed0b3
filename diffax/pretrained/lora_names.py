"""What the layers of a model are called in LoRA files of different writers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from diffax.adapters.paths import flat
from diffax.models import BoundModule, UNet2DConditionModel
from diffax.pretrained import original
from diffax.pretrained.corrections import Hadamard, Kronecker
from diffax.pretrained.naming import published_key
from diffax.pretrained.weights import Tensors


class Layer(NamedTuple):
    """A kernel of a model: "unet" or a text encoder, and its name in that part's parameters."""

    part: str
    path: str


@dataclass(frozen=True)
class Grouped:
    """The tensors of one layer: its name, and keys by what they are."""

    module: str
    keys: dict[str, str]


# Endings of keys: what the tensor is. Kohya, PEFT, diffusers before PEFT (attention, other layers).
ROLES = {
    "down": r"(\.lora_down|\.lora_A(\.\w+)?|[._]lora\.down|\.lora_linear_layer\.down)\.weight$",
    "up": r"(\.lora_up|\.lora_B(\.\w+)?|[._]lora\.up|\.lora_linear_layer\.up)\.weight$",
    "mid": r"\.lora_mid\.weight$",
    "alpha": r"\.alpha$",
    "dora_scale": r"\.dora_scale$",
    "magnitude": r"\.lora_magnitude_vector(\.\w+)?(\.weight)?$",
    **{name: rf"\.{name}(\.\w+)?$" for name in (*Hadamard.names, *Kronecker.names)},
}

# Other kinds of corrections, by a part of their keys.
REFUSED = {
    "oft_": "OFT",
    "boft_": "BOFT",
    ".diff": "a full difference of weights",
    "lora_B.bias": "a bias",
    "lora_up.bias": "a bias",
}

# How diffusers before PEFT called an attention's maps, and a text encoder's.
_OLDER = (
    (r"\.processor\b", ""),
    (r"\.to_out$", ".to_out.0"),
    (r"\.self_attn\.to_([qkv])$", r".self_attn.\1_proj"),
    (r"\.self_attn\.to_out\.0$", ".self_attn.out_proj"),
)

_FAMILIES = {768: "Stable Diffusion 1", 1024: "Stable Diffusion 2", 2048: "XL"}


def grouped(tensors: Tensors, file: str) -> dict[str, Grouped]:
    """The file's tensors by layer.

    Raises:
        ValueError: another kind of correction, or a key that is none of a LoRA.
    """
    groups: dict[str, Grouped] = {}
    for key in tensors:
        for mark, kind in REFUSED.items():
            if mark in key:
                raise ValueError(f"{file}: {kind} ({key}) is not supported; use a plain LoRA")
        for role, pattern in ROLES.items():
            found = re.search(pattern, key)
            if found:
                module = canonical(key[: found.start()])
                groups.setdefault(module, Grouped(module, {})).keys[role] = key
                break
        else:
            raise ValueError(f"{file}: {key} is no tensor of a LoRA; is it another kind of file?")
    if not groups:
        raise ValueError(f"{file}: no tensors in it")
    return groups


def canonical(name: str) -> str:
    """The name of a layer as newer writers spell it."""
    name = name.removeprefix("base_model.model.")
    for pattern, newer in _OLDER:
        name = re.sub(pattern, newer, name)
    return name


def places(parts: Mapping[str, BoundModule]) -> dict[str, Layer]:
    """Every spelling of every kernel's name -> where it is."""
    found: dict[str, Layer] = {}
    xl = "text_encoder_2" in parts
    for part, network in parts.items():
        for path in flat(network.params):
            path = path.removeprefix("params/")
            if path.endswith("/kernel"):
                key = published_key(tuple(path.split("/")))
                for spelling in _spellings(part, network, key, xl):
                    found.setdefault(spelling, Layer(part, path))
    return found


def _spellings(part: str, network: BoundModule, key: str, xl: bool) -> Iterator[str]:
    name = key.removesuffix(".weight")
    yield f"{part}.{name}"
    yield kohya(part, name, xl)
    if part != "unet":
        # Newer text encoders have no part "text_model".
        yield f"{part}.{name.removeprefix('text_model.')}"
        if part == "text_encoder":
            yield f"lora_te_{name.replace('.', '_')}"
            yield f"lora_te1_{name.replace('.', '_')}"
        return
    yield name
    module = network.module
    if isinstance(module, UNet2DConditionModel) and isinstance(module.layers_per_block, int):
        first = original.unet_locator(module)(key).key.removesuffix(".weight")
        yield f"lora_unet_{first.replace('.', '_')}"


def kohya(part: str, name: str, xl: bool = False) -> str:
    """A layer's name as kohya's trainer writes it."""
    prefix = {
        "unet": "lora_unet",
        "text_encoder": "lora_te1" if xl else "lora_te",
        "text_encoder_2": "lora_te2",
    }[part]
    return f"{prefix}_{name.replace('.', '_')}"


def family(tensors: Tensors) -> str:
    """The base model by the width of the texts that it attends to, in words; "" if unknown."""
    for key in tensors:
        if re.search(r"attn2.*to_[kv]\b|attn2_to_[kv]\b|attn2.*to_[kv]_lora", key):
            if re.search(ROLES["down"], key):
                return f" ({_FAMILIES.get(tensors.shape(key)[1], 'of no known family')})"
    return ""
