"""Where whole pipelines differ from the reference's on purpose: the one difference and no other."""

import dataclasses
import importlib
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
import tiny_models as tiny
import tiny_pipelines

torch = pytest.importorskip("torch", reason="the parity extra (torch) is not installed")
diffusers = pytest.importorskip("diffusers", reason="the parity extra (diffusers) is not installed")
pytest.importorskip("transformers", reason="the parity extra (transformers) is not installed")
sys.path.insert(0, str(Path(__file__).parents[1] / "golden/pretrained"))

import make_pipelines as reference  # noqa: E402

from diffax.generation import inpaint, text_to_image  # noqa: E402
from diffax.pretrained import model_of  # noqa: E402
from diffax.pretrained.plan import SCHEDULERS  # noqa: E402
from diffax.solvers import ddim  # noqa: E402

pytestmark = pytest.mark.parity

TRAILING = {**tiny.SCHEDULER, "timestep_spacing": "trailing"}
ZERO_SNR = {**TRAILING, "prediction_type": "v_prediction", "rescale_betas_zero_snr": True}
SMALL = {**tiny.CONFIGS["unet_sd1"], "block_out_channels": [16, 32], "norm_num_groups": 4}
XL_WITHOUT_ZEROS = {
    **tiny.PIPELINES["sdxl"],
    "unet": {**tiny._XL, "block_out_channels": [16, 32], "norm_num_groups": 4},
}


@pytest.fixture
def family(monkeypatch):
    def make(scheduler, **parts):
        own = {**tiny.PIPELINES["sd"], "unet": SMALL, "scheduler": scheduler} | parts
        monkeypatch.setitem(tiny.PIPELINES, "sd", own)
        return tiny_pipelines.components("sd")

    return make


def theirs(cls, sampler, **options):
    """Latents of the reference, NHWC."""
    name, _ = SCHEDULERS[sampler]
    pipe = reference.pipeline(getattr(diffusers, cls), "sd", name)
    options = {**reference.COMMON, **reference.SIZE, "output_type": "latent"} | options
    with torch.no_grad(), reference.NoiseFrom(sys.modules[type(pipe).__module__]):
        return reference.latents(pipe(**options))


OURS = dict(negative=tiny.NEGATIVE, guidance=tiny.GUIDANCE, noise=tiny.noise(), decode=False)
SIZE = dict(height=32, width=24)


def apart(ours, golden):
    return np.abs(np.asarray(ours) - golden).max() / np.abs(golden).max()


def test_the_kept_part_in_the_middle_of_a_step(family, monkeypatch):
    """KDPM2 asks twice a step. Between the two the reference noises the kept part for the step's
    end, while the state is in the step's middle."""
    model = model_of(family(TRAILING))
    ours = inpaint(model, tiny.PROMPTS, tiny.image(), tiny.mask(), steps=4, sampler="kdpm2", **OURS)
    image = reference.nchw((tiny.image()[None].repeat(2, 0) + 1) / 2)
    mask = torch.from_numpy(tiny.mask())[None, None]
    options = dict(image=image, mask_image=mask, num_inference_steps=4, strength=1.0)
    assert apart(ours, theirs("StableDiffusionInpaintPipeline", "kdpm2", **options)) > 0.02

    def add_noise(self, clean, noise, times):
        levels = self.sigmas if self.state_in_first_order else self.sigmas_interpol
        return clean + noise * levels[self.step_index or 0]

    monkeypatch.setattr(diffusers.KDPM2DiscreteScheduler, "add_noise", add_noise)
    assert apart(ours, theirs("StableDiffusionInpaintPipeline", "kdpm2", **options)) < 5e-5


@pytest.mark.parametrize("sampler", ["lms", "kdpm2", "heun"])
def test_zero_terminal_snr_belongs_to_the_model(family, sampler):
    """These classes of the reference do not know the option and sample from another table."""
    components = family(ZERO_SNR)
    golden = theirs("StableDiffusionPipeline", sampler, num_inference_steps=5)
    options = dict(steps=5, sampler=sampler, **OURS, **SIZE)
    assert apart(text_to_image(model_of(components), tiny.PROMPTS, **options), golden) > 0.02
    unread = {**ZERO_SNR, "rescale_betas_zero_snr": False}
    model = model_of(dataclasses.replace(components, scheduler=unread))
    assert apart(text_to_image(model, tiny.PROMPTS, **options), golden) < 5e-5


@pytest.mark.parametrize("negative", ["", None])
def test_xl_without_zeros_for_the_empty_prompt(monkeypatch, negative):
    """The empty text is read, also where no negative prompt is given; noise in every step."""
    monkeypatch.setitem(tiny.PIPELINES, "sdxl", XL_WITHOUT_ZEROS)
    monkeypatch.setitem(tiny_pipelines.SETTINGS, "sdxl", {"force_zeros_for_empty_prompt": False})
    fresh = tiny.draws("fresh noise", 2, 16, 12, 4)
    name = "diffusers.schedulers.scheduling_euler_ancestral_discrete"
    monkeypatch.setattr(
        importlib.import_module(name), "randn_tensor", lambda shape, **_: reference.nchw(fresh)
    )
    monkeypatch.setattr(ddim, "normal", lambda keys, x: jnp.asarray(fresh, x.dtype))
    scheduler = diffusers.EulerAncestralDiscreteScheduler.from_config(tiny.SCHEDULER)
    pipe = diffusers.StableDiffusionXLPipeline(
        **reference.components("sdxl"),
        scheduler=scheduler,
        add_watermarker=False,
        force_zeros_for_empty_prompt=False,
    )
    pipe.set_progress_bar_config(disable=True)
    with torch.no_grad():
        out = pipe(
            prompt=tiny.PROMPTS,
            negative_prompt=None if negative is None else [negative] * 2,
            guidance_scale=tiny.GUIDANCE,
            **SIZE,
            num_inference_steps=5,
            latents=reference.nchw(tiny.noise()),
            output_type="latent",
        )
    options = OURS | {"negative": negative}
    model = tiny_pipelines.pipeline("sdxl")
    ours = text_to_image(model, tiny.PROMPTS, steps=5, sampler="euler_ancestral", **options, **SIZE)
    assert apart(ours, reference.latents(out)) < 5e-5
