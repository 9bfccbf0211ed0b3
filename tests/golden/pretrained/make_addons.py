"""Writes addons.npz: what diffusers makes of the tiny Stable Diffusion with add-ons.

Needs the `parity` extra. `python tests/golden/pretrained/make_addons.py [control lora ...]`. The
live tests (test_addons_parity.py) call the same functions.
"""

from __future__ import annotations

import sys
from pathlib import Path

import diffusers
import numpy as np
import torch
import transformers
from PIL import Image

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1] / "pretrained"))
sys.path.insert(0, str(HERE))

import make_pipelines  # noqa: E402
import tiny_models as tiny  # noqa: E402
from make_components import nhwc  # noqa: E402
from make_pipelines import COMMON, SIZE, NoiseFrom, latents, nchw  # noqa: E402


def drawn(pipe, **options) -> np.ndarray:
    """Latents of two samples in three steps from the shared noise, NHWC."""
    pipe.set_progress_bar_config(disable=True)
    options = {**COMMON, **SIZE, "num_inference_steps": 3} | options
    options.setdefault("latents", nchw(tiny.noise()))
    with torch.no_grad():
        return latents(pipe(**options, output_type="latent"))


def control_image(number: int = 0) -> torch.Tensor:
    """A control image in [0, 1], `[1, 3, H, W]`."""
    return nchw((tiny.control_images()[number][None] + 1) / 2)


# ---------------------------------------------------------------- ControlNet


def controlnet(name: str = "controlnet") -> torch.nn.Module:
    return make_pipelines.network(tiny.ADDONS[name])


def controlled(family: str, *names: str) -> diffusers.DiffusionPipeline:
    """The family's pipeline with ControlNets."""
    xl = family == "sdxl"
    cls = (
        diffusers.StableDiffusionXLControlNetPipeline
        if xl
        else diffusers.StableDiffusionControlNetPipeline
    )
    nets = [controlnet(name) for name in names]
    parts = make_pipelines.components(family) | {"controlnet": nets[0] if len(nets) == 1 else nets}
    return make_pipelines.pipeline(cls, family, "DDIMScheduler", parts)


def control_cases() -> dict[str, np.ndarray]:
    one, two = controlled("sd", "controlnet"), controlled("sd", "controlnet", "controlnet_2")
    scale = "controlnet_conditioning_scale"
    return {
        "control one": drawn(one, image=control_image(), **{scale: 0.7}),
        "control two": drawn(two, image=[control_image(), control_image(1)], **{scale: [0.7, 0.4]}),
        "control guess": drawn(one, image=control_image(), guess_mode=True, **{scale: 0.7}),
        "control xl": drawn(controlled("sdxl", "controlnet_xl"), image=control_image()),
    }


# ---------------------------------------------------------------- CLIP's image encoder


def image_encoder_cases() -> dict[str, np.ndarray]:
    net = make_pipelines.network(tiny.ADDONS["clip_vision"])
    with torch.no_grad():
        out = net(nchw(tiny.draws("clip image", 2, 28, 28, 3)), output_hidden_states=True)
    return {
        "clip image hidden": out.hidden_states[-2][:, ::8].numpy(),
        "clip image projected": out.image_embeds.numpy(),
    }


# ---------------------------------------------------------------- LoRA


def tensors(layout: str) -> dict[str, torch.Tensor]:
    return {key: torch.as_tensor(value) for key, value in tiny.lora(layout).items()}


def plain() -> diffusers.StableDiffusionPipeline:
    return make_pipelines.pipeline(diffusers.StableDiffusionPipeline, "sd", "DDIMScheduler")


def lora_cases() -> dict[str, np.ndarray]:
    """Both layouts, alone and together, with scales."""
    cases = {}
    for name, scales in tiny.LORA_CASES.items():
        pipe = plain()
        for layout in scales:
            pipe.load_lora_weights(tensors(layout), adapter_name=layout)
        pipe.set_adapters(list(scales), list(scales.values()))
        cases[name] = drawn(pipe)
    return cases


# ---------------------------------------------------------------- T2I-Adapter


def adapter_cases() -> dict[str, np.ndarray]:
    cases = {}
    for name in ("t2i", "t2i_xl", "t2i_light"):
        with torch.no_grad():
            features = make_pipelines.network(tiny.ADDONS[name])(control_image())
        for i, feature in enumerate(features):
            cases[f"{name} {i}"] = nhwc(feature)
    parts = make_pipelines.components("sd")
    pipe = diffusers.StableDiffusionAdapterPipeline(
        **parts,
        adapter=make_pipelines.network(tiny.ADDONS["t2i"]),
        scheduler=make_pipelines.scheduler("sd", "DDIMScheduler"),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    cases["t2i drawn"] = drawn(
        pipe, image=control_image().repeat(2, 1, 1, 1), adapter_conditioning_scale=0.8
    )
    return cases


# ---------------------------------------------------------------- textual inversion


def token_cases() -> dict[str, np.ndarray]:
    pipe = plain()
    for token, vectors in tiny.token_vectors().items():
        pipe.load_textual_inversion({token: torch.from_numpy(vectors)}, token=token)
    return {"tokens": drawn(pipe, prompt=tiny.TOKEN_PROMPTS)}


# ---------------------------------------------------------------- IP-Adapter


def image_prompted(plus: bool) -> np.ndarray:
    tables = {"image_proj": {}, "ip_adapter": {}}
    for key, value in tiny.image_prompt(plus).items():
        table, name = key.split(".", 1)
        tables[table][name] = torch.from_numpy(value)
    pipe = diffusers.StableDiffusionPipeline(
        **make_pipelines.components("sd"),
        image_encoder=make_pipelines.network(tiny.ADDONS["clip_vision"]),
        feature_extractor=transformers.CLIPImageProcessor(size=28, crop_size=28),
        scheduler=make_pipelines.scheduler("sd", "DDIMScheduler"),
        safety_checker=None,
        requires_safety_checker=False,
    )
    pipe.load_ip_adapter(tables, subfolder="", weight_name="")
    pipe.set_ip_adapter_scale(0.6)
    levels = np.rint((tiny.image() + 1) * 127.5).astype(np.uint8)
    return drawn(pipe, ip_adapter_image=Image.fromarray(levels))


def image_prompt_cases() -> dict[str, np.ndarray]:
    return {"image prompt": image_prompted(False), "image prompt plus": image_prompted(True)}


# ---------------------------------------------------------------- the x4 upscaler


def upscaler() -> diffusers.StableDiffusionUpscalePipeline:
    return diffusers.StableDiffusionUpscalePipeline(
        **make_pipelines.components("upscaler"),
        low_res_scheduler=diffusers.DDPMScheduler.from_config(tiny.LOW_RES_SCHEDULER),
        scheduler=make_pipelines.scheduler("upscaler", "DDIMScheduler"),
        max_noise_level=39,
    )


def upscaler_cases() -> dict[str, np.ndarray]:
    pipe = upscaler()
    pipe.set_progress_bar_config(disable=True)
    module = sys.modules[type(pipe).__module__]
    saved = module.randn_tensor
    module.randn_tensor = lambda shape, **_: nchw(tiny.small_noise())
    options = {**COMMON, "image": nchw(tiny.small_images()), "noise_level": 30}
    try:
        with torch.no_grad():
            out = pipe(
                **options,
                num_inference_steps=3,
                latents=nchw(tiny.noise()),
                output_type="latent",
            )
    finally:
        module.randn_tensor = saved
    return {"upscaler": latents(out)}


# ---------------------------------------------------------------- InstructPix2Pix


def instructed_cases() -> dict[str, np.ndarray]:
    cls = diffusers.StableDiffusionInstructPix2PixPipeline
    pipe = make_pipelines.pipeline(cls, "instructed", "DDIMScheduler")
    pipe.set_progress_bar_config(disable=True)
    image = nchw((tiny.image()[None].repeat(2, 0) + 1) / 2)
    with torch.no_grad():
        out = pipe(
            **COMMON,
            image=image,
            image_guidance_scale=1.2,
            num_inference_steps=3,
            latents=nchw(tiny.noise()),
            output_type="latent",
        )
    return {"instructed": latents(out)}


# ---------------------------------------------------------------- depth


def depth_cases() -> dict[str, np.ndarray]:
    cls = diffusers.StableDiffusionDepth2ImgPipeline
    pipe = cls(
        **make_pipelines.components("depth"),
        scheduler=make_pipelines.scheduler("depth", "DDIMScheduler"),
        depth_estimator=None,
        feature_extractor=None,
    )
    pipe.set_progress_bar_config(disable=True)
    image = nchw((tiny.image()[None].repeat(2, 0) + 1) / 2)
    with NoiseFrom(sys.modules[cls.__module__]), torch.no_grad():
        out = pipe(
            **COMMON,
            image=image,
            depth_map=torch.tensor(tiny.depths(), dtype=torch.float32),
            strength=0.6,
            num_inference_steps=5,
            output_type="latent",
        )
    return {"depth": latents(out)}


CASES = {
    "control": control_cases,
    "image_encoder": image_encoder_cases,
    "lora": lora_cases,
    "tokens": token_cases,
    "t2i": adapter_cases,
    "image_prompt": image_prompt_cases,
    "upscaler": upscaler_cases,
    "instructed": instructed_cases,
    "depth": depth_cases,
}


def main(*names: str) -> None:
    """Makes the named cases anew, and keeps what else the file holds."""
    file = HERE / "addons.npz"
    golden = dict(np.load(file)) if names and file.exists() else {}
    for name in names or CASES:
        golden |= CASES[name]()
    np.savez_compressed(file, **golden)


if __name__ == "__main__":
    main(*sys.argv[1:])
