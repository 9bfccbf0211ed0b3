"""Writes addons.npz: what diffusers makes of the tiny Stable Diffusion with add-ons.

Needs the `parity` extra. `python tests/golden/pretrained/make_addons.py`. The live tests
(test_addons_parity.py) call the same functions.
"""

from __future__ import annotations

import sys
from pathlib import Path

import diffusers
import numpy as np
import torch

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1] / "pretrained"))
sys.path.insert(0, str(HERE))

import make_pipelines  # noqa: E402
import tiny_models as tiny  # noqa: E402
from make_pipelines import COMMON, SIZE, latents, nchw  # noqa: E402


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


def main() -> None:
    golden = control_cases() | image_encoder_cases()
    np.savez_compressed(HERE / "addons.npz", **golden)


if __name__ == "__main__":
    main()
