"""`config.json` <-> Flax modules. What a module cannot do is refused, never ignored."""

from __future__ import annotations

import dataclasses
import inspect
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from diffax.models import (
    AutoencoderKL,
    ClassEmbedder,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPVisionModel,
    CLIPVisionModelWithProjection,
    ControlNetModel,
    T2IAdapter,
    UNet2DConditionModel,
    UNet2DModel,
    VQModel,
    autoencoder,
    controlnet,
    t2i_adapter,
    unet_2d,
    unet_condition,
)
from diffax.models.blocks.clip import ACTIVATIONS
from diffax.pretrained.saving import LAYOUT_VERSION
from diffax.pretrained.types import check_types, shown

# Module fields that are ours and not a checkpoint's.
OURS = (
    "query_chunk",
    "remat",
    "new_tokens",
    "image_prompt",
    "dtype",
    "param_dtype",
    "parent",
    "name",
)

# Fields of which a module knows some values, and fields it has not: the values that mean what it
# does.
ONLY: dict[type[nn.Module], dict[str, tuple]] = {
    UNet2DConditionModel: {
        **unet_condition.CHOICES,
        "act_fn": ("silu", "swish"),
        "attention_type": ("default",),
        "class_embeddings_concat": (False,),
        "cross_attention_norm": (None,),
        "dual_cross_attention": (False,),
        "encoder_hid_dim": (None,),
        "encoder_hid_dim_type": (None,),
        "num_attention_heads": (None,),
        "resnet_out_scale_factor": (1,),
        "resnet_skip_time_act": (False,),
        "time_embedding_act_fn": (None,),
        "time_embedding_type": ("positional",),
        "timestep_post_act": (None,),
    },
    ControlNetModel: {
        **controlnet.CHOICES,
        "act_fn": ("silu", "swish"),
        "encoder_hid_dim": (None,),
        "encoder_hid_dim_type": (None,),
        "num_attention_heads": (None,),
    },
    T2IAdapter: t2i_adapter.CHOICES,
    UNet2DModel: {
        **unet_2d.CHOICES,
        "act_fn": ("silu", "swish"),
        "time_embedding_type": ("positional",),
    },
    AutoencoderKL: {
        **autoencoder.CHOICES,
        "act_fn": ("silu", "swish"),
        "latents_mean": (None,),
        "latents_std": (None,),
    },
    VQModel: {
        **autoencoder.CHOICES,
        "act_fn": ("silu", "swish"),
        "lookup_from_codebook": (False,),
        "norm_type": ("group",),
    },
    ClassEmbedder: {},
    CLIPTextModel: {"hidden_act": tuple(ACTIVATIONS)},
    CLIPTextModelWithProjection: {"hidden_act": tuple(ACTIVATIONS)},
    CLIPVisionModel: {"hidden_act": tuple(ACTIVATIONS)},
    CLIPVisionModelWithProjection: {"hidden_act": tuple(ACTIVATIONS)},
}

# Fields that need no counterpart: softmax is always float32 here; the others configure layers
# that `ONLY` excludes.
NO_EFFECT = ("upcast_attention", "addition_embed_type_num_heads", "num_train_timesteps")

BY_NAME = {cls.__name__: cls for cls in ONLY}
# Networks of transformers; all others are those of diffusers.
TRANSFORMERS = (CLIPTextModel, CLIPVisionModel)


def read_json(file: Path) -> dict[str, Any]:
    """A JSON object from a file, with clear errors."""
    file = Path(file)
    if not file.is_file():
        raise FileNotFoundError(f"{file}: no such file; expected a published checkpoint's layout")
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except RecursionError:
        raise ValueError(f"{file}: values nested too deep for a setting") from None
    except ValueError as error:
        raise ValueError(f"{file}: not valid JSON ({error}); download it again") from error
    if not isinstance(value, dict):
        raise ValueError(f"{file}: expected a JSON object, got {type(value).__name__}")
    return value


def module_from_config(
    config: Mapping[str, Any],
    *,
    dtype: Any = "float32",
    param_dtype: Any = "float32",
    **options: Any,
) -> nn.Module:
    """The Flax module that a `config.json` describes.

    Args:
        config: the file's content.
        dtype: of the computation, by name or as `jnp.float32`.
        param_dtype: of the parameters.
        **options: `query_chunk`, `remat`, for the networks that have them.

    Raises:
        ValueError: a network, or a setting of it, that is not supported.
    """
    name = class_name(config)
    if name not in BY_NAME:
        raise ValueError(f"network {shown(name)} is not supported; supported are {sorted(BY_NAME)}")
    cls = BY_NAME[name]
    _check_types(cls, config)
    fields = {f.name for f in dataclasses.fields(cls)} - set(OURS)
    problems = [
        f"{key} = {shown(value)} (supported: {', '.join(map(repr, values))})"
        for key, values in ONLY[cls].items()
        if key in config
        for value in _unknown(config[key], values)
    ]
    # transformers' files also hold dozens of settings of other tasks.
    if not issubclass(cls, TRANSFORMERS):
        known = fields | set(ONLY[cls]) | set(NO_EFFECT)
        problems += [
            f"{shown(key)[1:-1]} = {shown(value)} (unknown)"
            for key, value in config.items()
            if not key.startswith("_") and key not in known and value is not None
        ]
    if problems:
        raise ValueError(f"{name} with {'; '.join(problems)} is not supported")
    settings = {key: _frozen(value) for key, value in config.items() if key in fields}
    dtypes = dict(dtype=jnp.dtype(dtype).name, param_dtype=jnp.dtype(param_dtype).name)
    return cls(**settings, **dtypes, **options)


def class_name(config: Mapping[str, Any]) -> str:
    """The network's class: `_class_name` (diffusers) or `architectures[0]` (transformers)."""
    listed = config.get("architectures")
    name = config.get("_class_name") or (
        listed[0] if isinstance(listed, list | tuple) and listed else ""
    )
    return name if isinstance(name, str) else str(name)


def _check_types(cls: type[nn.Module], config: Mapping[str, Any]) -> None:
    """Values of the types that a module annotates its fields with."""
    hints: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        if base is not nn.Module and issubclass(base, nn.Module):
            hints |= inspect.get_annotations(base, eval_str=True)
    read = {key: config[key] for key in hints if key in config and key not in OURS}
    check_types(cls.__name__, read, hints)


def config_from_module(module: nn.Module) -> dict[str, Any]:
    """The `config.json` that describes a Flax module, as its reference library reads it."""
    settings = {
        f.name: getattr(module, f.name) for f in dataclasses.fields(module) if f.name not in OURS
    }
    name = type(module).__name__
    if isinstance(module, TRANSFORMERS):
        kind = "text" if isinstance(module, CLIPTextModel) else "vision"
        return {"architectures": [name], "model_type": f"clip_{kind}_model", **settings}
    return {"_class_name": name, "_diffusers_version": LAYOUT_VERSION, **settings}


def written_config(module: nn.Module, read: Mapping[str, Any], dtype: str) -> dict[str, Any]:
    """The `config.json` to write for a module that was read from one.

    Args:
        module: the network.
        read: the content of that file, `{}` where there was none: its fields stay as they are,
            also those that nothing here needs, unless the module has changed since.
        dtype: of the weights beside it, such as "float32".
    """
    own = config_from_module(module)
    if not read or class_name(read) != type(module).__name__:
        return own
    before = config_from_module(module_from_config(read))
    config = dict(read) | {key: own[key] for key in own if own[key] != before[key]}
    if "_class_name" in config:
        config.setdefault("_diffusers_version", LAYOUT_VERSION)
    return config | {key: dtype for key in ("dtype", "torch_dtype") if key in config}


def parameter_shapes(module: nn.Module) -> dict:
    """The tree of a module's parameters as `jax.ShapeDtypeStruct`s; nothing is computed."""
    inputs = example_inputs(module)
    return jax.eval_shape(lambda key: module.init(key, *inputs), jax.random.key(0))


def example_inputs(module: nn.Module) -> tuple[Any, ...]:
    """What a module can be called with, as small as can be, zeros."""
    if isinstance(module, CLIPTextModel):
        return (jnp.zeros((1, 2), jnp.int32),)
    if isinstance(module, CLIPVisionModel):
        return (jnp.zeros((1, module.image_size, module.image_size, module.num_channels)),)
    if isinstance(module, T2IAdapter):
        side = module.downscale_factor * 2 ** len(module.channels)
        return (jnp.zeros((1, side, side, module.in_channels)),)
    if isinstance(module, ClassEmbedder):
        return (jnp.zeros(1, jnp.int32),)
    if isinstance(module, (AutoencoderKL, VQModel)):
        return (jnp.zeros((1, module.factor, module.factor, module.in_channels)),)
    if isinstance(module, (UNet2DModel, UNet2DConditionModel, ControlNetModel)):
        size = 2 ** (len(module.block_out_channels) - 1)
        x = jnp.zeros((1, size, size, module.in_channels))
        return (x, jnp.zeros(1), example_condition(module))
    raise TypeError(f"{type(module).__name__} is none of the published networks")


def example_condition(
    module: UNet2DModel | UNet2DConditionModel | ControlNetModel,
) -> dict[str, jax.Array]:
    """A condition of one example with all that the network must be told, zeros."""
    width = getattr(module, "time_embedding_dim", None) or 4 * module.block_out_channels[0]
    projected = getattr(module, "projection_class_embeddings_input_dim", None) or 1
    label = {
        None: jnp.zeros(1, jnp.int32),
        "timestep": jnp.zeros(1),
        "identity": jnp.zeros((1, width)),
        "projection": jnp.zeros((1, projected)),
        "simple_projection": jnp.zeros((1, projected)),
    }
    condition = {"label": label[module.class_embed_type]} if module.labelled else {}
    if isinstance(module, UNet2DModel):
        return condition
    context = module.cross_attention_dim
    condition["context"] = jnp.zeros((1, 1, context if isinstance(context, int) else context[0]))
    if module.sized:
        # Only the sum of both widths shapes the parameters.
        condition["size_ids"] = jnp.zeros((1, 1))
        condition["pooled"] = jnp.zeros((1, projected - (module.addition_time_embed_dim or 0)))
    if isinstance(module, ControlNetModel):
        side = module.factor * 2 ** (len(module.block_out_channels) - 1)
        condition["control"] = jnp.zeros((1, side, side, module.conditioning_channels))
    return condition


def _unknown(value: Any, known: tuple) -> list:
    """The value, where it is not known; of a list of values, those that are not."""
    values = value if isinstance(value, (list, tuple)) else [value]
    return list(dict.fromkeys(v for v in values if v not in known))


def _frozen(value: Any) -> Any:
    return tuple(_frozen(v) for v in value) if isinstance(value, (list, tuple)) else value
