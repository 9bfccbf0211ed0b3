"""Writes pipelines.npz: what diffusers' pipelines make of the tiny models, from the same noise.

Needs the `parity` extra. `python tests/golden/pretrained/make_pipelines.py`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import diffusers
import numpy as np
import torch
import transformers
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from transformers.convert_slow_tokenizer import bytes_to_unicode

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1] / "pretrained"))
sys.path.insert(0, str(HERE))

import make_components  # noqa: E402
import tiny_models as tiny  # noqa: E402

# diffax takes the posterior's mean where the reference draws from it.
DiagonalGaussianDistribution.sample = lambda self, generator=None: self.mode()


def network(config: dict) -> torch.nn.Module:
    """A network of the reference library with the formula's weights."""
    tiny.CONFIGS["_"] = config
    return make_components.build("_")


def tokenizer(pad: str) -> transformers.CLIPTokenizer:
    tokens = tiny.vocabulary(list(bytes_to_unicode().values()))
    return transformers.CLIPTokenizer(
        vocab={t: i for i, t in enumerate(tokens)},
        merges=tiny.MERGES,
        pad_token=pad,
        model_max_length=77,
    )


def components(family: str) -> dict:
    """Everything of one family but the scheduler."""
    parts = {}
    for name, config in tiny.PIPELINES[family].items():
        if name != "scheduler":
            parts[name] = network(config)
        if name.startswith("text_encoder"):
            number = int(name != "text_encoder")
            parts[name.replace("text_encoder", "tokenizer")] = tokenizer(
                tiny.pad_token(family, number)
            )
    return parts


def scheduler(family: str, name: str):
    config = tiny.PIPELINES[family]["scheduler"]
    return getattr(diffusers, name).from_config(config)


def pipeline(cls: type, family: str, name: str, parts: dict | None = None):
    """A reference pipeline of the family with the named scheduler."""
    parts = dict(parts or components(family), scheduler=scheduler(family, name))
    if family in ("sdxl", "refiner"):
        if family == "refiner":
            parts |= {"text_encoder": None, "tokenizer": None}
            parts |= {"requires_aesthetics_score": True}
            parts |= {"force_zeros_for_empty_prompt": False}
        pipe = cls(**parts, add_watermarker=False)
    else:
        pipe = cls(
            **parts,
            safety_checker=None,
            feature_extractor=None,
            image_encoder=None,
            requires_safety_checker=False,
        )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def nchw(x: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.moveaxis(x, -1, 1).copy())


def latents(out) -> np.ndarray:
    return np.moveaxis(out.images.detach().numpy(), 1, -1)


def repeat_second_time(pipe) -> None:
    """Gives PNDM the times it needs.

    The reference's image-to-image cuts them off the front of the scheduler's list, and with them
    the second time's repetition, so that from the third call on the network is told a lower noise
    level than the state has.
    """
    cut = pipe.get_timesteps

    def get_timesteps(steps, strength, device):
        times = pipe.scheduler.timesteps.unique().flip(0)[steps - int(steps * strength) :]
        return torch.cat([times[:2], times[1:]]), cut(steps, strength, device)[1]

    pipe.get_timesteps = get_timesteps


COMMON = dict(
    prompt=tiny.PROMPTS, negative_prompt=[tiny.NEGATIVE] * 2, guidance_scale=tiny.GUIDANCE
)
SIZE = dict(height=32, width=24)


class NoiseFrom:
    """Replaces the reference's draws of noise by the shared latents."""

    def __init__(self, module):
        self.module = module

    def __enter__(self):
        self.saved = self.module.randn_tensor
        self.module.randn_tensor = lambda shape, **_: nchw(tiny.noise())

    def __exit__(self, *_):
        self.module.randn_tensor = self.saved


@torch.no_grad()
def main() -> None:
    golden = {}
    for family in ("sd", "sd2"):
        parts = components(family)
        for ours, theirs in tiny.SAMPLERS.items():
            pipe = pipeline(diffusers.StableDiffusionPipeline, family, theirs, parts)
            options = dict(COMMON, **SIZE, num_inference_steps=5, latents=nchw(tiny.noise()))
            out = pipe(**options, guidance_rescale=tiny.RESCALE, output_type="latent")
            golden[f"{family} text {ours}"] = latents(out)
    out = pipe(**options, guidance_rescale=tiny.RESCALE, output_type="np")
    golden["sd2 picture unipc"] = 2 * out.images - 1

    image = nchw((tiny.image()[None].repeat(2, 0) + 1) / 2)
    mask = torch.from_numpy(tiny.mask())[None, None]
    parts = components("sd")
    for ours, theirs in tiny.SAMPLERS.items():
        pipe = pipeline(diffusers.StableDiffusionImg2ImgPipeline, "sd", theirs, parts)
        if ours == "plms":
            repeat_second_time(pipe)
        module = sys.modules[type(pipe).__module__]
        with NoiseFrom(module):
            out = pipe(
                **COMMON, image=image, num_inference_steps=10, strength=0.6, output_type="latent"
            )
        golden[f"sd image {ours}"] = latents(out)

    for family in ("sd", "inpainting"):
        parts = components(family)
        for ours, theirs in tiny.SAMPLERS.items():
            pipe = pipeline(diffusers.StableDiffusionInpaintPipeline, family, theirs, parts)
            out = pipe(
                **COMMON,
                **SIZE,
                image=image,
                mask_image=mask,
                num_inference_steps=5,
                strength=1.0,
                latents=nchw(tiny.noise()),
                output_type="latent",
            )
            golden[f"{family} mask {ours}"] = latents(out)
    module = sys.modules[diffusers.StableDiffusionInpaintPipeline.__module__]
    pipe = pipeline(diffusers.StableDiffusionInpaintPipeline, "sd", "DDIMScheduler")
    with NoiseFrom(module):
        out = pipe(
            **COMMON,
            **SIZE,
            image=image,
            mask_image=mask,
            num_inference_steps=10,
            strength=0.6,
            output_type="latent",
        )
    golden["sd mask strength ddim"] = latents(out)

    sizes = dict(original_size=(64, 48), crops_coords_top_left=(3, 5), target_size=(40, 30))
    parts = components("sdxl")
    for ours, theirs in tiny.SAMPLERS.items():
        pipe = pipeline(diffusers.StableDiffusionXLPipeline, "sdxl", theirs, parts)
        out = pipe(
            **COMMON,
            **SIZE,
            **sizes,
            num_inference_steps=5,
            latents=nchw(tiny.noise()),
            output_type="latent",
        )
        golden[f"sdxl text {ours}"] = latents(out)
    pipe = pipeline(diffusers.StableDiffusionXLPipeline, "sdxl", "EulerDiscreteScheduler", parts)
    out = pipe(
        prompt=tiny.PROMPTS,
        guidance_scale=tiny.GUIDANCE,
        **SIZE,
        num_inference_steps=5,
        latents=nchw(tiny.noise()),
        output_type="latent",
    )
    golden["sdxl without negative"] = latents(out)
    begun = pipe(
        **COMMON,
        **SIZE,
        num_inference_steps=10,
        denoising_end=0.7,
        latents=nchw(tiny.noise()),
        output_type="latent",
    ).images
    golden["sdxl begun"] = np.moveaxis(begun.numpy(), 1, -1)
    refiner = pipeline(
        diffusers.StableDiffusionXLImg2ImgPipeline, "refiner", "EulerDiscreteScheduler"
    )
    out = refiner(
        **COMMON, image=begun, num_inference_steps=10, denoising_start=0.7, output_type="latent"
    )
    golden["sdxl refined"] = latents(out)

    for name, value in golden.items():
        assert np.isfinite(value).all(), name
    np.savez_compressed(HERE / "pipelines.npz", **golden)


if __name__ == "__main__":
    main()
