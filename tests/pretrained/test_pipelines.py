"""Whole pipelines agree with diffusers' from the same noise; values stored by make_pipelines.py."""

from pathlib import Path

import numpy as np
import pytest
import tiny_models as tiny
import tiny_pipelines

from diffax.generation import Request, image_to_image, inpaint, refine, text_to_image
from diffax.generation.plan import cut

GOLDEN = np.load(Path(__file__).parents[1] / "golden/pretrained/pipelines.npz")

OPTIONS = dict(negative=tiny.NEGATIVE, guidance=tiny.GUIDANCE, noise=tiny.noise())
SIZE = dict(height=32, width=24)


@pytest.fixture(scope="module")
def pipes():
    made = {}

    def get(family):
        return (
            made.setdefault(family, None)
            or made.update({family: tiny_pipelines.pipeline(family)})
            or made[family]
        )

    return get


def agree(ours, golden, tolerance=5e-5):
    """float32 rounding through 5 to 10 guided steps; 6e-6 is the most that is seen."""
    golden = GOLDEN[golden] if isinstance(golden, str) else golden
    assert ours.shape == golden.shape
    error = np.abs(np.asarray(ours) - golden).max() / np.abs(golden).max()
    assert error < tolerance, f"relative error {error:.2g}"


# A few pairs of task and solver by default, the whole table with the slow tests.
def table(*quick):
    return [s if s in quick else pytest.param(s, marks=pytest.mark.slow) for s in tiny.SAMPLERS]


@pytest.mark.parametrize("sampler", table())
def test_text_to_image(pipes, sampler):
    out = text_to_image(
        pipes("sd"),
        tiny.PROMPTS,
        steps=5,
        sampler=sampler,
        decode=False,
        guidance_rescale=tiny.RESCALE,
        **OPTIONS,
        **SIZE,
    )
    agree(out, f"sd text {sampler}")


@pytest.mark.parametrize("sampler", table())
def test_velocity_prediction(pipes, sampler):
    out = text_to_image(
        pipes("sd2"),
        tiny.PROMPTS,
        steps=5,
        sampler=sampler,
        decode=False,
        guidance_rescale=tiny.RESCALE,
        **OPTIONS,
        **SIZE,
    )
    agree(out, f"sd2 text {sampler}")


@pytest.mark.slow
def test_velocity_prediction_decoded(pipes):
    out = text_to_image(
        pipes("sd2"),
        tiny.PROMPTS,
        steps=5,
        sampler="unipc",
        guidance_rescale=tiny.RESCALE,
        **OPTIONS,
        **SIZE,
    )
    agree(out, "sd2 picture unipc")


@pytest.mark.parametrize("sampler", table("dpmpp_2m"))
def test_image_to_image(pipes, sampler):
    # diffusers counts 10 steps, of which strength 0.6 leaves 6.
    out = image_to_image(
        pipes("sd"),
        tiny.PROMPTS,
        tiny.image(),
        strength=0.6,
        steps=6,
        sampler=sampler,
        decode=False,
        **OPTIONS,
    )
    agree(out, f"sd image {sampler}")


@pytest.mark.parametrize("sampler", table("ddim"))
def test_inpainting_by_replacement(pipes, sampler):
    out = inpaint(
        pipes("sd"),
        tiny.PROMPTS,
        tiny.image(),
        tiny.mask(),
        steps=5,
        sampler=sampler,
        decode=False,
        **OPTIONS,
    )
    agree(out, f"sd mask {sampler}")


@pytest.mark.slow
def test_inpainting_with_strength(pipes):
    out = inpaint(
        pipes("sd"),
        tiny.PROMPTS,
        tiny.image(),
        tiny.mask(),
        strength=0.6,
        steps=6,
        sampler="ddim",
        decode=False,
        **OPTIONS,
    )
    agree(out, "sd mask strength ddim")


@pytest.mark.parametrize("sampler", table())
def test_inpainting_model(pipes, sampler):
    out = inpaint(
        pipes("inpainting"),
        tiny.PROMPTS,
        tiny.image(),
        tiny.mask(),
        steps=5,
        sampler=sampler,
        decode=False,
        **OPTIONS,
    )
    agree(out, f"inpainting mask {sampler}")


@pytest.mark.parametrize("sampler", table())
def test_xl_with_sizes(pipes, sampler):
    out = text_to_image(
        pipes("sdxl"),
        tiny.PROMPTS,
        steps=5,
        sampler=sampler,
        decode=False,
        original_size=(64, 48),
        crop=(3, 5),
        target_size=(40, 30),
        **OPTIONS,
        **SIZE,
    )
    agree(out, f"sdxl text {sampler}")


def test_xl_without_a_negative_prompt(pipes):
    out = text_to_image(
        pipes("sdxl"), tiny.PROMPTS, steps=5, decode=False, **{**OPTIONS, "negative": None}, **SIZE
    )
    agree(out, "sdxl without negative")


@pytest.mark.slow
def test_xl_base_and_refiner(pipes):
    begun = text_to_image(pipes("sdxl"), tiny.PROMPTS, steps=10, stop_at=0.7, **OPTIONS, **SIZE)
    # diffusers' Euler holds x / alpha.
    model = pipes("sdxl")
    times = model.settings.plan(model.schedule, model.parameterization, Request(steps=10))
    golden = GOLDEN["sdxl begun"] * float(cut(times, 0.7, "before").grid.alpha[-1])
    agree(begun, golden)
    out = refine(
        pipes("refiner"), tiny.PROMPTS, golden, start_at=0.7, steps=10, decode=False, **OPTIONS
    )
    agree(out, "sdxl refined")
