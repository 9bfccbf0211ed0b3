"""Pictures of a text, of a picture, of a class, of nothing: the pipelines as plain functions.

All take the keyword arguments of `Options`, and run on `diffax.sample`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from diffax.pretrained.class_labels import class_condition, class_list, null_condition
from diffax.pretrained.decoding import encode
from diffax.pretrained.options import Options
from diffax.pretrained.pipeline import Pipeline
from diffax.pretrained.plan import cut, plan
from diffax.pretrained.run import (
    finish,
    keys_and_noise,
    picture_size,
    prompt_list,
    run,
    textless_run,
)
from diffax.pretrained.schedulers import Setup


def text_to_image(
    pipe: Pipeline,
    prompt: str | Sequence[str] | None,
    *,
    stop_at: float | None = None,
    **options: Any,
) -> jax.Array:
    """Pictures of a text.

    Args:
        pipe: a text-to-image model, see `load_pipeline`.
        prompt: one text or several; `(word:1.3)` weights a part, long texts are read in chunks.
        stop_at: share of the noise after which to stop and return latents, for `refine`.
        **options: see `Options`.

    Returns:
        `[B, H, W, 3]` float32 in [-1, 1], B = prompts x `num`; or latents.

    Raises:
        ValueError: an empty or too long prompt, an impossible size, sampler or option.

    Example:
        >>> pipe = load_pipeline("stable-diffusion-v1-5")  # doctest: +SKIP
        >>> images = text_to_image(pipe, "a red fox in the snow", seed=1)  # doctest: +SKIP
    """
    chosen = Options(**options)
    _needs_text(pipe)
    if pipe.unet.module.in_channels != pipe.unet.module.out_channels:
        raise ValueError("this is an inpainting model: use inpaint, or load a text-to-image model")
    prompts, size = prompt_list(prompt, chosen.num), picture_size(pipe, chosen)
    setup = plan_of(pipe, chosen)
    if stop_at is not None:
        return run(pipe, prompts, chosen, size, cut(setup, stop_at, "before"))
    return finish(pipe, run(pipe, prompts, chosen, size, setup), chosen)


def image_to_image(
    pipe: Pipeline,
    prompt: str | Sequence[str] | None,
    image: Any,
    *,
    strength: float = 0.8,
    **options: Any,
) -> jax.Array:
    """Pictures that keep something of a given one (Meng et al. 2022, SDEdit).

    Args:
        pipe: a text-to-image model, or XL's refiner.
        prompt: as in `text_to_image`.
        image: `[H, W, 3]` or `[B, H, W, 3]`, uint8 or float in [-1, 1], or anything numpy reads
            as such; its size is the result's.
        strength: 0..1, how much is made anew. All `steps` are taken, whatever the strength.
        **options: see `Options`.

    Returns:
        As `text_to_image`.
    """
    chosen, prompts, pictures, size = from_image(pipe, prompt, image, options)
    setup = plan_of(pipe, chosen, strength)
    clean = encode(pipe.vae, pictures, chosen.tile)
    here = setup.grid[0]
    latents = run(
        pipe,
        prompts,
        chosen,
        size,
        setup,
        lambda noise: here.alpha * clean + here.sigma * noise,
    )
    return finish(pipe, latents, chosen)


def variations(
    pipe: Pipeline,
    image: Any,
    *,
    prompt: str | None = None,
    strength: float = 0.6,
    num: int = 4,
    **options: Any,
) -> jax.Array:
    """`num` pictures like a given one, each from noise of its own; see `image_to_image`."""
    return image_to_image(pipe, prompt, image, strength=strength, num=num, **options)


def refine(
    pipe: Pipeline,
    prompt: str | Sequence[str],
    latents: jax.Array,
    *,
    start_at: float = 0.8,
    **options: Any,
) -> jax.Array:
    """Ends a run that `text_to_image(..., stop_at=...)` began, with XL's refiner.

    Give the same `steps`, `sampler` and prompt to both; and `start_at` the other's `stop_at`
    (Podell et al. 2023, section 2.5).

    Args:
        pipe: the refiner.
        prompt: as in `text_to_image`.
        latents: `[B, h, w, C]` of the first model, still noisy.
        start_at: share of the noise that is gone.
        **options: see `Options`; the size is that of the latents.

    Returns:
        As `text_to_image`.
    """
    chosen = Options(**options)
    _needs_text(pipe)
    prompts = prompt_list(prompt, chosen.num)
    if latents.shape[0] != len(prompts):
        raise ValueError(f"expected latents of {len(prompts)} pictures, got {latents.shape[0]}")
    size = tuple(n * pipe.factor for n in latents.shape[1:3])
    setup = cut(plan_of(pipe, chosen), start_at, "after")
    return finish(pipe, run(pipe, prompts, chosen, size, setup, lambda _: latents), chosen)


def class_to_image(
    pipe: Pipeline,
    labels: int | Sequence[int],
    *,
    guidance: float | None = 3.0,
    **options: Any,
) -> jax.Array:
    """Pictures of classes, with classifier-free guidance (Rombach et al. 2022, section 4.3.1).

    Args:
        pipe: class-conditional latent diffusion, CompVis' `cin256-v2`.
        labels: one class or several, such as ImageNet's 0..999.
        guidance: scale of classifier-free guidance away from "no class"; None: unguided, at half
            the cost.
        **options: of `Options`: num, steps, sampler, spacing, karras, eta, guidance_rescale, seed,
            height, width, noise, tile, decode, on_step.

    Returns:
        `[B, H, W, 3]` float32 in [-1, 1], B = labels x `num`; or latents.

    Raises:
        ValueError: no labels or unknown ones, a model without a class embedder, a negative prompt.

    Example:
        >>> pipe = load_pipeline("cin256-v2/model.ckpt")  # doctest: +SKIP
        >>> images = class_to_image(pipe, [207, 360], num=4)  # doctest: +SKIP
    """
    chosen = Options(guidance=guidance, **options)
    if pipe.class_embedder is None:
        raise ValueError(f"this model has no class embedder: use {_maker(pipe)}")
    if chosen.negative is not None:
        raise ValueError("negative is a text, and this model reads classes: leave it out")
    numbers, size = class_list(pipe.class_embedder, labels, chosen.num), picture_size(pipe, chosen)
    keys, noise = keys_and_noise(pipe, chosen, len(numbers), size)
    asked = class_condition(pipe.class_embedder, numbers)
    null = null_condition(pipe.class_embedder, len(numbers))
    drawn = textless_run(pipe, chosen, noise, keys, asked, plan_of(pipe, chosen), null)
    return finish(pipe, drawn, chosen)


def unconditional(
    pipe: Pipeline, *, labels: Sequence[int] | None = None, **options: Any
) -> jax.Array:
    """Pictures without a text: google/ddpm-*, unconditional and class-conditional models.

    Args:
        pipe: a model without text encoders.
        labels: one class for each picture, where the model has classes; with guidance, see
            `class_to_image`.
        **options: of `Options`: num, steps, sampler, spacing, karras, eta, seed, height, width,
            noise, tile, decode, on_step.

    Returns:
        `[B, H, W, C]` float32 in [-1, 1].
    """
    chosen = Options(**{"guidance": None, **options})
    if pipe.text_encoders:
        raise ValueError("this model makes pictures of a text: use text_to_image")
    batch = chosen.num if labels is None else len(labels)
    size = picture_size(pipe, chosen)
    keys, noise = keys_and_noise(pipe, chosen, batch, size)
    embedder = pipe.class_embedder
    if embedder is None:
        condition = {} if labels is None else {"label": jnp.asarray(labels, jnp.int32)}
    elif labels is None:
        condition = null_condition(embedder, batch)
    else:
        condition = class_condition(embedder, class_list(embedder, labels))
    drawn = textless_run(pipe, chosen, noise, keys, condition, plan_of(pipe, chosen))
    return finish(pipe, drawn, chosen)


def as_pictures(image: Any, batch: int) -> jax.Array:
    """`[B, H, W, 3]` float32 in [-1, 1] of a picture or of B pictures.

    Raises:
        ValueError: not a colour picture, values out of range, or another number of pictures.
    """
    pictures = np.asarray(image)
    if pictures.ndim == 3:
        pictures = pictures[None]
    if pictures.ndim != 4 or pictures.shape[-1] != 3:
        raise ValueError(
            f"expected a colour picture [H, W, 3], or [B, H, W, 3], got shape {pictures.shape}"
        )
    if pictures.dtype == np.uint8:
        pictures = pictures.astype(np.float32) / 127.5 - 1
    if not np.issubdtype(pictures.dtype, np.floating) or np.abs(pictures).max() > 1 + 1e-4:
        raise ValueError(
            f"expected pictures in uint8, or in floats within [-1, 1], got {pictures.dtype} "
            f"from {pictures.min()} to {pictures.max()}"
        )
    if pictures.shape[0] not in (1, batch):
        raise ValueError(f"expected one picture, or {batch}, got {pictures.shape[0]}")
    return jnp.broadcast_to(jnp.asarray(pictures, jnp.float32), (batch, *pictures.shape[1:]))


def from_image(pipe: Pipeline, prompt, image, options: dict[str, Any]):
    """Options, prompts, pictures and size of a run that starts from a picture."""
    _needs_text(pipe)
    for name in ("height", "width"):
        if options.get(name) is not None:
            raise ValueError(f"the size is the picture's; resize that instead of giving {name}")
    chosen = Options(**options)
    prompts = prompt_list(prompt, chosen.num)
    pictures = as_pictures(image, len(prompts))
    size = pictures.shape[1:3]
    return chosen, prompts, pictures, picture_size(pipe, _sized(chosen, size))


def _sized(options: Options, size: tuple[int, int]) -> Options:
    return dataclasses.replace(options, height=size[0], width=size[1])


def _needs_text(pipe: Pipeline) -> None:
    if not pipe.text_encoders:
        raise ValueError(f"this model has no text encoder: use {_maker(pipe)}")


def _maker(pipe: Pipeline) -> str:
    """The function that makes pictures with this model."""
    if pipe.text_encoders:
        return "text_to_image"
    return "unconditional" if pipe.class_embedder is None else "class_to_image"


def plan_of(pipe: Pipeline, options: Options, strength: float = 1.0) -> Setup:
    """The run that the options ask of this model."""
    return plan(
        pipe.scheduler,
        options.steps,
        sampler=options.sampler,
        spacing=options.spacing,
        karras=options.karras,
        eta=options.eta,
        strength=strength,
    )
