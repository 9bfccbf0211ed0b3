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


# Layers of the tiny Stable Diffusion 1 that a LoRA corrects -> shape of their weight.
_INSIDE = "down_blocks.0.attentions.0.transformer_blocks.0"
LORA = {
    "unet": {
        f"{_INSIDE}.attn1.to_q": (32, 32),
        f"{_INSIDE}.attn2.to_k": (32, 32),
        f"{_INSIDE}.attn2.to_out.0": (32, 32),
        f"{_INSIDE}.ff.net.0.proj": (256, 32),
        f"{_INSIDE}.ff.net.2": (32, 128),
        "down_blocks.0.attentions.0.proj_in": (32, 32, 1, 1),
        "down_blocks.1.resnets.0.conv1": (64, 32, 3, 3),
        "mid_block.attentions.0.transformer_blocks.0.attn1.to_v": (64, 64),
        "up_blocks.1.resnets.0.time_emb_proj": (32, 128),
    },
    "text_encoder": {
        "text_model.encoder.layers.0.self_attn.q_proj": (32, 32),
        "text_model.encoder.layers.1.self_attn.out_proj": (32, 32),
        "text_model.encoder.layers.1.mlp.fc1": (64, 32),
    },
}


# What is drawn with LoRAs -> their scales.
LORA_CASES = {
    "lora peft": {"peft": 1.0},
    "lora kohya": {"kohya": 0.7},
    "lora both": {"peft": 0.5, "kohya": -0.4},
}


def lora(layout: str) -> dict[str, np.ndarray]:
    """A LoRA file's tensors: "peft" of rank 2, "kohya" of rank 3 with alpha 1.5.

    One alpha for all layers: the reference, 0.42, forgets one of attention that differs.
    """
    tensors = {}
    for part, layers in LORA.items():
        for name, (rows, *inside) in layers.items():
            rank = 2 if layout == "peft" else 3
            down = weight(f"lora {layout} {name} down", (rank, *inside))
            up = weight(f"lora {layout} {name} up", (rows, rank, *[1] * (len(inside) - 1)))
            if layout == "peft":
                key = f"{part}.{name}"
                tensors |= {f"{key}.lora_A.weight": down, f"{key}.lora_B.weight": up}
            else:
                prefix = "lora_unet_" if part == "unet" else "lora_te_"
                key = prefix + name.replace(".", "_")
                tensors |= {f"{key}.lora_down.weight": down, f"{key}.lora_up.weight": up}
                tensors[f"{key}.alpha"] = np.float32(1.5)
    return tensors


def image_prompt(plus: bool = False) -> dict[str, np.ndarray]:
    """An IP-Adapter of the tiny Stable Diffusion 1, of four tokens; `plus`: with a resampler."""
    shapes = {
        "proj.weight": (128, 24),
        "proj.bias": (128,),
        "norm.weight": (32,),
        "norm.bias": (32,),
    }
    if plus:
        shapes = {
            "latents": (1, 4, 16),
            "proj_in.weight": (16, 32),
            "proj_in.bias": (16,),
            "proj_out.weight": (32, 16),
            "proj_out.bias": (32,),
            "norm_out.weight": (32,),
            "norm_out.bias": (32,),
        }
        for i in range(4):
            inside = {
                "0.norm1.weight": (16,),
                "0.norm1.bias": (16,),
                "0.norm2.weight": (16,),
                "0.norm2.bias": (16,),
                "0.to_q.weight": (64, 16),
                "0.to_kv.weight": (128, 16),
                "0.to_out.weight": (16, 64),
                "1.0.weight": (16,),
                "1.0.bias": (16,),
                "1.1.weight": (64, 16),
                "1.3.weight": (16, 64),
            }
            shapes |= {f"layers.{i}.{name}": shape for name, shape in inside.items()}
    tensors = {f"image_proj.{k}": weight(f"ip {k}", s) for k, s in shapes.items()}
    # The way down, twice the way up, the middle: every second attention layer.
    for i, width in enumerate((32, 32, 32, 64)):
        for name in ("to_k_ip", "to_v_ip"):
            key = f"ip_adapter.{2 * i + 1}.{name}.weight"
            tensors[key] = weight(key, (width, 32))
    return tensors


_T2I = {"_class_name": "T2IAdapter", "in_channels": 3, "num_res_blocks": 1, "downscale_factor": 2}
ADDONS |= {
    "t2i": {**_T2I, "adapter_type": "full_adapter", "channels": [32, 64]},
    "t2i_xl": {**_T2I, "adapter_type": "full_adapter_xl", "channels": [8, 12, 12]},
    "t2i_light": {**_T2I, "adapter_type": "light_adapter", "channels": [8, 16]},
}

TOKEN_PROMPTS = ["a <toy> at cat", "dot cat <toy>"]


def token_vectors() -> dict[str, np.ndarray]:
    """Two new tokens of the tiny text encoder: one of two vectors, one of one."""
    return {"<toy>": 0.5 * draws("toy", 2, 32), "dot": 0.5 * draws("dot", 1, 32)}


def control_images() -> np.ndarray:
    """Two control images in [-1, 1], 32x24."""
    return np.stack([image(), np.sin(3 * image()[::-1])])


PIPELINES["upscaler"] = {
    "unet": {**CONFIGS["unet_sd1"], "in_channels": 7, "num_class_embeds": 40},
    "vae": CONFIGS["vae"],
    "text_encoder": _TEXT,
    "scheduler": {**SCHEDULER, "prediction_type": "v_prediction"},
}
PIPELINES["instructed"] = {
    **PIPELINES["sd"],
    "unet": {**CONFIGS["unet_sd1"], "in_channels": 8},
}
PIPELINES["depth"] = {
    **PIPELINES["sd"],
    "unet": {**CONFIGS["unet_sd1"], "in_channels": 5},
}
LOW_RES_SCHEDULER = {
    **SCHEDULER,
    "_class_name": "DDPMScheduler",
    "beta_schedule": "squaredcos_cap_v2",
}


def small_images() -> np.ndarray:
    """Two small images of the latents' size, 16x12."""
    return np.stack([image()[::2, ::2], np.cos(2 * image()[::2, ::2])])


def depths() -> np.ndarray:
    """Two maps of depth, 24x20, in no unit."""
    return 3 + draws("depths", 2, 24, 20)


def small_noise() -> np.ndarray:
    """What they are noised with."""
    return draws("small noise", 2, 16, 12, 3)


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
