"""Names of the original single-file checkpoints (CompVis, Stability) for every published key.

Each function takes a key of the diffusers layout and gives its `Source` in the original file,
after the component's prefix (see `PREFIXES`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from diffax.models import (
    AutoencoderKL,
    ClassEmbedder,
    CLIPTextModel,
    ControlNetModel,
    UNet2DConditionModel,
    UNet2DModel,
    VQModel,
)
from diffax.pretrained.naming import HARMLESS, Source

# Where a component's tensors may start in a single file, the first that occurs is taken.
PREFIXES = {
    "unet": ("model.diffusion_model.",),
    "vae": ("first_stage_model.", "vae."),
    "text_encoder": (
        "cond_stage_model.transformer.",
        "cond_stage_model.model.",
        "conditioner.embedders.0.transformer.",
    ),
    "class_embedder": ("cond_stage_model.",),
    "text_encoder_2": ("conditioner.embedders.1.model.", "conditioner.embedders.0.model."),
}

# What is found among a component's tensors (after the prefix) but is not one of the network's.
LEFTOVER = (
    *HARMLESS,
    (r"^logit_scale$", "temperature of CLIP's training"),
    (r"^attn_mask$", "the causal mask"),
    (r"^transformer\.resblocks\.23\.", "SD 2 reads the last block but one"),
    (r"^text_projection$", "SD 2 does not use the joint space"),
    (r"^(loss|model_ema)\.", "the autoencoder's training"),
)

# What a single file holds besides its components.
OUTSIDE = (
    (r"^(model_ema\.|ema_)", "moving averages, loaded on request in place of the weights"),
    (
        r"^(betas|alphas_cumprod(_prev)?|sqrt_\w+|log_one_minus_alphas_cumprod|posterior_\w+"
        r"|logvar|scale_factor|lvlb_weights|denoiser\.sigmas)$",
        "the noise schedule's tables",
    ),
)

RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}

UNET_ENDS = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "class_embedding.linear_1": "label_emb.0.0",
    "class_embedding.linear_2": "label_emb.0.2",
    "class_embedding": "label_emb",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}

VAE_PARTS = (
    (r"mid_block\.resnets\.0", "mid.block_1"),
    (r"mid_block\.resnets\.1", "mid.block_2"),
    (r"mid_block\.attentions\.0", "mid.attn_1"),
    (r"\.resnets\.", ".block."),
    (r"\.attentions\.", ".attn."),
    (r"downsamplers\.0", "downsample"),
    (r"upsamplers\.0", "upsample"),
    (r"conv_norm_out", "norm_out"),
    (r"conv_shortcut", "nin_shortcut"),
    (r"group_norm", "norm"),
    (r"to_out\.0", "proj_out"),
    (r"to_([qkv])\.", r"\1."),
    (r"\.down_blocks\.", ".down."),
)

OPENCLIP_PARTS = (
    (r"^text_model\.embeddings\.position_embedding\.weight$", "positional_embedding"),
    (r"^text_model\.embeddings\.", ""),
    (r"^text_model\.final_layer_norm", "ln_final"),
    (r"^text_model\.encoder\.layers\.", "transformer.resblocks."),
    (r"\.layer_norm(\d)\.", r".ln_\1."),
    (r"\.mlp\.fc1\.", ".mlp.c_fc."),
    (r"\.mlp\.fc2\.", ".mlp.c_proj."),
    (r"\.self_attn\.out_proj\.", ".attn.out_proj."),
)


def unet_locator(module: UNet2DConditionModel | UNet2DModel) -> Callable[[str], Source]:
    """Names of the original U-Net with this module's number of layers."""
    layers = module.layers_per_block
    if not isinstance(layers, int):
        raise ValueError(
            f"layers_per_block {layers}: original single files have one number for all blocks"
        )
    attends = ["Attn" in kind for kind in module.up_block_types]

    def locate(key: str) -> Source:
        return Source(unet_key(key, layers, attends))

    return locate


def unet_key(
    key: str,
    layers: int,
    attends: Sequence[bool],
    attention: Callable[[str], str] = str,
) -> str:
    """The original U-Net's name for a published key.

    Args:
        key: the published key.
        layers: residual blocks a level on the way down.
        attends: whether each block on the way up has attention.
        attention: from a name inside an attention block to the original's; the same by default.
    """
    for name, original in UNET_ENDS.items():
        if re.match(rf"{re.escape(name)}\.(weight|bias)$", key):
            return key.replace(name, original, 1)
    step = layers + 1
    inside = {"resnets": _inside_resnet, "attentions": attention}
    part, rest = key.split(".", 1)
    if part == "mid_block":
        kind, i, rest = rest.split(".", 2)
        place = 2 * int(i) + (kind == "attentions")
        return f"middle_block.{place}.{inside[kind](rest)}"
    block, kind, i, rest = rest.split(".", 3)
    block, i = int(block), int(i)
    resampling = rest if rest.startswith("conv.") else None
    if part == "down_blocks":
        if kind == "downsamplers":
            rest = resampling.replace("conv.", "op.", 1) if resampling else _inside_resnet(rest)
            return f"input_blocks.{(block + 1) * step}.0.{rest}"
        slot = int(kind == "attentions")
        return f"input_blocks.{1 + block * step + i}.{slot}.{inside[kind](rest)}"
    if kind == "upsamplers":
        slot = 2 if attends[block] else 1
        return f"output_blocks.{block * step + layers}.{slot}.{resampling or _inside_resnet(rest)}"
    slot = int(kind == "attentions")
    return f"output_blocks.{block * step + i}.{slot}.{inside[kind](rest)}"


def _inside_resnet(rest: str) -> str:
    name, leaf = rest.rsplit(".", 1)
    return f"{RESNET[name]}.{leaf}"


def control_locator(module: ControlNetModel) -> Callable[[str], Source]:
    """Names of the original ControlNet: its encoder's are the U-Net's."""
    layers = module.layers_per_block
    if not isinstance(layers, int):
        raise ValueError(
            f"layers_per_block {layers}: original files have one number for all blocks"
        )
    last = 2 * (2 * len(module.conditioning_embedding_out_channels) - 1)

    def locate(key: str) -> Source:
        name, leaf = key.rsplit(".", 1)
        hint = name.removeprefix("controlnet_cond_embedding.")
        place = {"conv_in": 0, "conv_out": last}.get(hint)
        if hint.startswith("blocks."):  # a function lies between any two convolutions
            place = 2 * int(hint.removeprefix("blocks.")) + 2
        if place is not None and hint != name:
            return Source(f"input_hint_block.{place}.{leaf}")
        if name == "controlnet_mid_block":
            return Source(f"middle_block_out.0.{leaf}")
        if name.startswith("controlnet_down_blocks."):
            return Source(f"zero_convs.{name.rsplit('.', 1)[1]}.0.{leaf}")
        return Source(unet_key(key, layers, ()))

    return locate


def autoencoder_locator(module: AutoencoderKL | VQModel) -> Callable[[str], Source]:
    """Names of the original autoencoder; its decoder counts the levels the other way round."""
    last = len(module.block_out_channels) - 1

    def locate(key: str) -> Source:
        for pattern, original in VAE_PARTS:
            key = re.sub(pattern, original, key)
        return Source(re.sub(r"\.up_blocks\.(\d+)\.", lambda m: f".up.{last - int(m[1])}.", key))

    return locate


def clip_locator(module: CLIPTextModel) -> Callable[[str], Source]:
    """OpenAI's text encoder has its published names in single files too."""
    return Source


def class_locator(module: ClassEmbedder) -> Callable[[str], Source]:
    """The table of classes is called the same everywhere."""
    return Source


def openclip_locator(module: CLIPTextModel) -> Callable[[str], Source]:
    """Names of OpenCLIP's text transformer, with query, key and value in one matrix."""

    def locate(key: str) -> Source:
        if key == "text_projection.weight":
            return Source("text_projection", transposed=True)
        for pattern, original in OPENCLIP_PARTS:
            key = re.sub(pattern, original, key)
        fused = re.sub(r"\.self_attn\.([qkv])_proj\.(weight|bias)$", r".attn.in_proj_\2", key)
        if fused != key:
            return Source(fused, part=("qkv".index(key.rsplit("_proj", 1)[0][-1]), 3))
        return Source(key)

    return locate


def ema_key(key: str) -> str:
    """Name of a U-Net tensor's moving average in the file, from its name after the prefix."""
    return "model_ema." + "diffusion_model" + key.replace(".", "")
