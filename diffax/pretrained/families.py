"""The published model families: what their `config.json` files say, for single files without one.

Figures from the published configurations (see also Rombach et al. 2022; Podell et al. 2023,
table 1; for cin256-v2, `configs/latent-diffusion/cin256-v2.yaml` of CompVis/latent-diffusion).
"""

from __future__ import annotations

from typing import Any

from diffax.pretrained.weights import Tensors

CROSS_DOWN, CROSS_UP = "CrossAttnDownBlock2D", "CrossAttnUpBlock2D"

UNET_1 = {
    "_class_name": "UNet2DConditionModel",
    "attention_head_dim": 8,
    "block_out_channels": (320, 640, 1280, 1280),
    "cross_attention_dim": 768,
    "down_block_types": (CROSS_DOWN, CROSS_DOWN, CROSS_DOWN, "DownBlock2D"),
    "up_block_types": ("UpBlock2D", CROSS_UP, CROSS_UP, CROSS_UP),
    "layers_per_block": 2,
    "sample_size": 64,
}

UNET_2 = {
    **UNET_1,
    "attention_head_dim": (5, 10, 20, 20),
    "cross_attention_dim": 1024,
    "sample_size": 96,
    "use_linear_projection": True,
}

UNET_XL = {
    **UNET_2,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "attention_head_dim": (5, 10, 20),
    "block_out_channels": (320, 640, 1280),
    "cross_attention_dim": 2048,
    "down_block_types": ("DownBlock2D", CROSS_DOWN, CROSS_DOWN),
    "up_block_types": (CROSS_UP, CROSS_UP, "UpBlock2D"),
    "projection_class_embeddings_input_dim": 2816,
    "sample_size": 128,
    "transformer_layers_per_block": (1, 2, 10),
}

UNET_XL_REFINER = {
    **UNET_XL,
    "attention_head_dim": (6, 12, 24, 24),
    "block_out_channels": (384, 768, 1536, 1536),
    "cross_attention_dim": 1280,
    "down_block_types": ("DownBlock2D", CROSS_DOWN, CROSS_DOWN, "DownBlock2D"),
    "up_block_types": ("UpBlock2D", CROSS_UP, CROSS_UP, "UpBlock2D"),
    "projection_class_embeddings_input_dim": 2560,
    "transformer_layers_per_block": 4,
}

# Level i works at 1 / 2**i of the latents' size; attention at all but the first.
UNET_CLASSES = {
    **UNET_1,
    "attention_head_dim": 1,
    "block_out_channels": (192, 384, 576, 960),
    "cross_attention_dim": 512,
    "down_block_types": ("DownBlock2D", CROSS_DOWN, CROSS_DOWN, CROSS_DOWN),
    "up_block_types": (CROSS_UP, CROSS_UP, CROSS_UP, "UpBlock2D"),
    "in_channels": 3,
    "out_channels": 3,
}

AUTOENCODER = {
    "_class_name": "AutoencoderKL",
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 2,
    "latent_channels": 4,
    "sample_size": 512,
    "scaling_factor": 0.18215,
    # Only XL's overflows in half precision.
    "force_upcast": False,
}

AUTOENCODER_XL = {
    **AUTOENCODER,
    "sample_size": 1024,
    "scaling_factor": 0.13025,
    "force_upcast": True,
}

AUTOENCODER_VQ = {
    "_class_name": "VQModel",
    "block_out_channels": (128, 256, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 3,
    "up_block_types": ("UpDecoderBlock2D",) * 3,
    "layers_per_block": 2,
    "latent_channels": 3,
    "num_vq_embeddings": 8192,
    "sample_size": 256,
    "scaling_factor": 1.0,
}

# ImageNet's 1000 classes and "no class".
CLASSES = {"_class_name": "ClassEmbedder", "n_classes": 1001, "embed_dim": 512}

CLIP_L = {
    "architectures": ("CLIPTextModel",),
    "eos_token_id": 2,
    "hidden_act": "quick_gelu",
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_attention_heads": 12,
    "num_hidden_layers": 12,
    "projection_dim": 768,
    "vocab_size": 49408,
}

# The published SD 2 leaves out the last of 24 layers.
OPENCLIP_H = {
    **CLIP_L,
    "hidden_act": "gelu",
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_attention_heads": 16,
    "num_hidden_layers": 23,
    "projection_dim": 512,
}

OPENCLIP_BIGG = {
    **OPENCLIP_H,
    "architectures": ("CLIPTextModelWithProjection",),
    "hidden_size": 1280,
    "intermediate_size": 5120,
    "num_attention_heads": 20,
    "num_hidden_layers": 32,
    "projection_dim": 1280,
}

SCHEDULER = {
    "_class_name": "DDIMScheduler",
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "clip_sample": False,
    "num_train_timesteps": 1000,
    "prediction_type": "epsilon",
    "set_alpha_to_one": False,
    "steps_offset": 1,
    "timestep_spacing": "leading",
}

FAMILIES: dict[str, dict[str, dict[str, Any]]] = {
    "sd1": {
        "unet": UNET_1,
        "vae": AUTOENCODER,
        "text_encoder": CLIP_L,
        "scheduler": SCHEDULER,
    },
    "sd2": {
        "unet": UNET_2,
        "vae": {**AUTOENCODER, "sample_size": 768},
        "text_encoder": OPENCLIP_H,
        "scheduler": {**SCHEDULER, "prediction_type": "v_prediction"},
    },
    "sdxl": {
        "unet": UNET_XL,
        "vae": AUTOENCODER_XL,
        "text_encoder": CLIP_L,
        "text_encoder_2": OPENCLIP_BIGG,
        "scheduler": SCHEDULER,
    },
    "sdxl-refiner": {
        "unet": UNET_XL_REFINER,
        "vae": AUTOENCODER_XL,
        "text_encoder_2": OPENCLIP_BIGG,
        "scheduler": SCHEDULER,
    },
    # Class-conditional ImageNet at 256x256, with CompVis' name for it.
    "cin256-v2": {
        "unet": UNET_CLASSES,
        "vae": AUTOENCODER_VQ,
        "class_embedder": CLASSES,
        "scheduler": {**SCHEDULER, "beta_start": 0.0015, "beta_end": 0.0195},
    },
}

_UNET = "model.diffusion_model."
_LATENTS = _UNET + "input_blocks.0.0.weight"
# A cross-attention of each family, deep enough to exist in all of them.
_INSIDE = "input_blocks.4.1.transformer_blocks.0.attn2.to_k.weight"
_CONTEXT = _UNET + _INSIDE
_BY_CONTEXT = {768: "sd1", 1024: "sd2", 2048: "sdxl", 1280: "sdxl-refiner"}
_BY_CLASSES = {512: "cin256-v2"}
# The table of classes, in models that have no text.
CLASS_TABLE = "cond_stage_model.embedding.weight"


def family_of(tensors: Tensors) -> tuple[str, dict[str, dict[str, Any]]]:
    """The family of an original single file, and its components' configurations.

    The number of input channels (4, or 9 for inpainting) and that of classes are taken from the
    file.

    Raises:
        ValueError: none of the supported families.
    """
    known = f"supported are {', '.join(FAMILIES)}, and Stable Diffusion's inpainting variants"
    if _LATENTS not in tensors or _CONTEXT not in tensors:
        raise ValueError(f"no Stable Diffusion U-Net in this file ({known})")
    width = tensors.shape(_CONTEXT)[1]
    classes = CLASS_TABLE in tensors
    names = _BY_CLASSES if classes else _BY_CONTEXT
    if width not in names:
        raise ValueError(
            f"a U-Net with a context of width {width} {'for' if classes else 'and no'} classes "
            f"is of no known family ({known})"
        )
    name = names[width]
    channels = tensors.shape(_LATENTS)[1]
    if channels not in ((3,) if classes else (4, 9)):
        raise ValueError(
            f"a U-Net with {channels} input channels is not supported ({known}: 4 or 9 channels, "
            "3 with classes)"
        )
    configs = dict(FAMILIES[name])
    configs["unet"] = {**configs["unet"], "in_channels": channels}
    if classes:
        rows = tensors.shape(CLASS_TABLE)[0]
        configs["class_embedder"] = {**configs["class_embedder"], "n_classes": rows}
    return name, configs


def unet_by_context(tensors: Tensors) -> dict[str, Any]:
    """The configuration of the U-Net whose encoder, without a prefix, a file holds a copy of.

    Raises:
        ValueError: none of the supported families.
    """
    width = tensors.shape(_INSIDE)[1] if _INSIDE in tensors else None
    if width not in _BY_CONTEXT:
        raise ValueError(
            f"a context of width {width} is of no known family ({', '.join(_BY_CONTEXT.values())})"
        )
    return FAMILIES[_BY_CONTEXT[width]]["unet"]
