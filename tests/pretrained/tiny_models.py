"""Small networks of every published family, with weights that follow from their names.

No weights are stored: both the reference library (tests/golden/pretrained/make_components.py) and
the tests fill a network by the same formula, and only the reference's activations are committed.
"""

from __future__ import annotations

import zlib

import numpy as np

CLIP = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 77,
    "vocab_size": 1000,
}

CONDITIONED = {
    "_class_name": "UNet2DConditionModel",
    "block_out_channels": [32, 64],
    "layers_per_block": 1,
    "cross_attention_dim": 32,
    "norm_num_groups": 8,
    "sample_size": 16,
}

CONFIGS = {
    "unet_sd1": {
        **CONDITIONED,
        "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"],
        "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"],
        "attention_head_dim": 2,
    },
    "unet_sd2": {
        **CONDITIONED,
        "block_out_channels": [32, 64, 64],
        "down_block_types": ["CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"],
        "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"],
        "attention_head_dim": [2, 4, 8],
        "use_linear_projection": True,
        "upcast_attention": True,
    },
    "unet_sdxl": {
        **CONDITIONED,
        "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
        "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"],
        "attention_head_dim": [2, 4],
        "transformer_layers_per_block": [1, 2],
        "use_linear_projection": True,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 8,
        "projection_class_embeddings_input_dim": 80,
    },
    "unet_variants": {
        **CONDITIONED,
        "down_block_types": ["ResnetDownsampleBlock2D", "CrossAttnDownBlock2D"],
        "up_block_types": ["CrossAttnUpBlock2D", "ResnetUpsampleBlock2D"],
        "mid_block_type": "UNetMidBlock2D",
        "attention_head_dim": 4,
        "only_cross_attention": [False, True],
        "class_embed_type": "projection",
        "projection_class_embeddings_input_dim": 12,
        "time_cond_proj_dim": 6,
        "resnet_time_scale_shift": "scale_shift",
        "conv_out_kernel": 1,
    },
    "ddpm": {
        "_class_name": "UNet2DModel",
        "block_out_channels": [32, 64],
        "down_block_types": ["DownBlock2D", "AttnDownBlock2D"],
        "up_block_types": ["AttnUpBlock2D", "UpBlock2D"],
        "layers_per_block": 1,
        "attention_head_dim": None,
        "downsample_padding": 0,
        "flip_sin_to_cos": False,
        "freq_shift": 1,
        "norm_eps": 1e-6,
        "norm_num_groups": 8,
        "mid_block_scale_factor": 1.5,
        "sample_size": 16,
    },
    "class_conditional": {
        "_class_name": "UNet2DModel",
        "block_out_channels": [32, 64],
        "down_block_types": ["AttnDownBlock2D", "DownBlock2D"],
        "up_block_types": ["UpBlock2D", "AttnUpBlock2D"],
        "layers_per_block": 1,
        "attention_head_dim": 16,
        "downsample_type": "resnet",
        "upsample_type": "resnet",
        "norm_num_groups": 8,
        "num_class_embeds": 10,
    },
    "vae": {
        "_class_name": "AutoencoderKL",
        "block_out_channels": [16, 32],
        "down_block_types": ["DownEncoderBlock2D", "DownEncoderBlock2D"],
        "up_block_types": ["UpDecoderBlock2D", "UpDecoderBlock2D"],
        "layers_per_block": 1,
        "norm_num_groups": 8,
        "latent_channels": 4,
        "scaling_factor": 0.18215,
        "sample_size": 16,
    },
    "vq": {
        "_class_name": "VQModel",
        "block_out_channels": [16, 32],
        "down_block_types": ["DownEncoderBlock2D", "AttnDownEncoderBlock2D"],
        "up_block_types": ["AttnUpDecoderBlock2D", "UpDecoderBlock2D"],
        "layers_per_block": 1,
        "norm_num_groups": 8,
        "latent_channels": 3,
        "num_vq_embeddings": 32,
    },
    # eos_token_id 2: the historic mistake of OpenAI's files
    "clip_l": {"architectures": ["CLIPTextModel"], **CLIP, "eos_token_id": 2},
    "clip_h": {
        "architectures": ["CLIPTextModelWithProjection"],
        **CLIP,
        "hidden_act": "gelu",
        "projection_dim": 24,
        "eos_token_id": 999,
    },
}


def weight(key: str, shape: tuple[int, ...]) -> np.ndarray:
    """The tensor called `key`: frozen draws of numpy's legacy generator, sensibly scaled."""
    draws = np.random.RandomState(zlib.crc32(key.encode())).standard_normal(shape)
    if key.endswith(".bias"):
        value = 0.1 * draws
    elif len(shape) == 1:
        value = 1 + 0.1 * draws
    else:
        value = draws / np.sqrt(np.prod(shape[1:]))
    return value.astype(np.float32)


def draws(name: str, *shape: int) -> np.ndarray:
    """An input array, standard normal, that follows from its name."""
    seed = zlib.crc32(("input " + name).encode())
    return np.random.RandomState(seed).standard_normal(shape).astype(np.float32)


def unet_inputs(name: str) -> dict[str, np.ndarray]:
    """Inputs of a U-Net, NHWC. A height that does not halve twice tests the odd skip sizes."""
    config = CONFIGS[name]
    height = 18 if name == "unet_sd2" else 16
    inputs = {"x": draws("x", 2, height, 12, config.get("in_channels", 4))}
    if config["_class_name"] == "UNet2DModel":
        inputs["x"] = draws("x", 2, 16, 12, 3)
    inputs["t"] = np.array([3.0, 981.0], np.float32)
    if config["_class_name"] == "UNet2DConditionModel":
        inputs["context"] = draws("context", 2, 7, 32)
    if name == "unet_sdxl":
        inputs["pooled"] = draws("pooled", 2, 32)
        inputs["size_ids"] = np.array([[16, 16, 0, 0, 16, 16], [32, 24, 4, 2, 16, 16]], np.float32)
    if name == "unet_variants":
        inputs["label"] = draws("label", 2, 12)
        inputs["guidance"] = draws("guidance", 2, 6)
    if name == "class_conditional":
        inputs["label"] = np.array([3, 7], np.int32)
    return inputs


def control_residuals() -> tuple[list[np.ndarray], np.ndarray]:
    """Skips and middle of `unet_sd1`, as a ControlNet would add them."""
    shapes = [(2, 16, 12, 32)] * 2 + [(2, 8, 6, 32), (2, 8, 6, 64)]
    return [draws(f"skip {i}", *s) for i, s in enumerate(shapes)], draws("mid", 2, 8, 6, 64)


def token_ids() -> np.ndarray:
    """Two texts of 77 tokens; the end token, 999, once early and once late."""
    ids = np.random.RandomState(0).randint(3, 999, (2, 77))
    ids[:, 0] = 998
    ids[0, 9:] = 999
    ids[1, 76] = 999
    return ids.astype(np.int32)


# ---------------------------------------------------------------- whole pipelines

# Byte letters, three merges and the marks: ids below 517.
MERGES = [("c", "a"), ("ca", "t</w>"), ("a", "t</w>")]
VOCABULARY = 512 + len(MERGES) + 2
START, END = VOCABULARY - 2, VOCABULARY - 1

SCHEDULER = {
    "_class_name": "PNDMScheduler",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000,
    "set_alpha_to_one": False,
    "clip_sample": False,
    "skip_prk_steps": True,
    "steps_offset": 1,
    "timestep_spacing": "leading",
}

_TEXT = {**CONFIGS["clip_l"], "vocab_size": VOCABULARY, "eos_token_id": 2}
_TEXT_2 = {**CONFIGS["clip_h"], "vocab_size": VOCABULARY, "eos_token_id": END}
_XL = {
    **CONFIGS["unet_sdxl"],
    "cross_attention_dim": 64,
    "projection_class_embeddings_input_dim": 24 + 6 * 8,
}

PIPELINES = {
    "sd": {
        "unet": CONFIGS["unet_sd1"],
        "vae": CONFIGS["vae"],
        "text_encoder": _TEXT,
        "scheduler": SCHEDULER,
    },
    "sd2": {
        "unet": CONFIGS["unet_sd2"],
        "vae": CONFIGS["vae"],
        "text_encoder": {**_TEXT, "hidden_act": "gelu"},
        "scheduler": {**SCHEDULER, "prediction_type": "v_prediction"},
    },
    "inpainting": {
        "unet": {**CONFIGS["unet_sd1"], "in_channels": 9},
        "vae": CONFIGS["vae"],
        "text_encoder": _TEXT,
        "scheduler": SCHEDULER,
    },
    "sdxl": {
        "unet": _XL,
        "vae": {**CONFIGS["vae"], "force_upcast": True},
        "text_encoder": _TEXT,
        "text_encoder_2": _TEXT_2,
        "scheduler": {**SCHEDULER, "_class_name": "EulerDiscreteScheduler"},
    },
    "refiner": {
        "unet": {**_XL, "cross_attention_dim": 32, "projection_class_embeddings_input_dim": 64},
        "vae": {**CONFIGS["vae"], "force_upcast": True},
        "text_encoder_2": _TEXT_2,
        "scheduler": {**SCHEDULER, "_class_name": "EulerDiscreteScheduler"},
    },
}

# ---------------------------------------------------------------- add-ons

_CONTROL = {
    "_class_name": "ControlNetModel",
    **{k: v for k, v in CONFIGS["unet_sd1"].items() if k not in ("_class_name", "sample_size")},
    # One halving only: the tiny autoencoder's latents are half the image's size.
    "conditioning_embedding_out_channels": [8, 16],
}
_CONTROL.pop("up_block_types")

ADDONS = {
    "controlnet": _CONTROL,
    # Another hint embedding: its weights follow from names and shapes.
    "controlnet_2": {
        **_CONTROL,
        "conditioning_embedding_out_channels": [4, 12],
        "controlnet_conditioning_channel_order": "bgr",
    },
    "controlnet_xl": {
        "_class_name": "ControlNetModel",
        **{
            k: v
            for k, v in _XL.items()
            if k not in ("_class_name", "sample_size", "up_block_types")
        },
        "conditioning_embedding_out_channels": [8, 16],
    },
}


ADDONS["clip_vision"] = {
    "architectures": ["CLIPVisionModelWithProjection"],
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "image_size": 28,
    "patch_size": 7,
    "projection_dim": 24,
}


def control_images() -> np.ndarray:
    """Two control images in [-1, 1], 32x24."""
    return np.stack([image(), np.sin(3 * image()[::-1])])


# Our name -> the reference's scheduler.
SAMPLERS = {
    "ddim": "DDIMScheduler",
    "plms": "PNDMScheduler",
    "euler": "EulerDiscreteScheduler",
    "dpmpp_2m": "DPMSolverMultistepScheduler",
    "unipc": "UniPCMultistepScheduler",
}

PROMPTS = ["a cat at cat!", "at (at"]
NEGATIVE = "cat at"
GUIDANCE, RESCALE = 5.0, 0.6


def vocabulary(letters: list[str]) -> list[str]:
    """All tokens in order of their ids, from the 256 byte letters in GPT-2's order."""
    marks = ["<|startoftext|>", "<|endoftext|>"]
    return [*letters, *(c + "</w>" for c in letters), *map("".join, MERGES), *marks]


def pad_token(family: str, number: int) -> str:
    """SD 1 and XL's first encoder pad with the end mark, the others with "!"."""
    return "<|endoftext|>" if number == 0 and family != "sd2" else "!"


def noise() -> np.ndarray:
    """Latents to start from, of two 32x24 images."""
    return draws("noise", 2, 16, 12, 4)


def image() -> np.ndarray:
    """A smooth colour image, 32x24, in [-1, 1]."""
    y, x = np.mgrid[0:32, 0:24].astype(np.float32)
    waves = [np.sin(x / 5), np.cos(y / 7), np.sin((x + y) / 9)]
    return (0.8 * np.stack(waves, axis=-1)).astype(np.float32)


def mask() -> np.ndarray:
    """1 where the image is made anew, 32x24."""
    mask = np.zeros((32, 24), np.float32)
    mask[6:23, 5:17] = 1
    return mask
