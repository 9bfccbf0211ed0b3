"""The usual requests as plain functions: all take `generate`'s keyword arguments.

They give the decoded samples, `[B, H, W, C]` float32 in [-1, 1], or, with `decode=False`, latents.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from diffax.generation.generate import generate
from diffax.generation.model import Model
from diffax.generation.samples import Samples
from diffax.sampling import outpainting_canvas


def text_to_image(
    model: Model, prompt: str | Sequence[str] | None, **options: Any
) -> Array | np.ndarray:
    """Images of a text.

    Args:
        model: of a text-to-image model.
        prompt: one text or several. With the published text encoders `(word:1.3)` weights a part,
            and long texts are read in chunks.
        **options: see `Request`; with `stop_at`, latents for `refine`.

    Returns:
        `[B, H, W, 3]` float32 in [-1, 1], B = prompts x `num` (1).

    Raises:
        ValueError: an empty or too long prompt, an impossible size, sampler or option.

    Example:
        >>> model = load_pipeline("stable-diffusion-v1-5")  # doctest: +SKIP
        >>> images = text_to_image(model, "a red fox in the snow", seed=1)  # doctest: +SKIP
    """
    if "prompt" not in model.conditioner.asks:
        raise ValueError(f"this model has no text encoder: use {_maker(model)}")
    options.setdefault("num", 1)
    return generate(model, prompt=prompt, **options).data


def image_to_image(
    model: Model,
    prompt: str | Sequence[str] | None,
    image: Any,
    *,
    strength: float = 0.8,
    **options: Any,
) -> Array | np.ndarray:
    """Images that keep something of a given one (Meng et al. 2022, SDEdit).

    Args:
        model: of a text-to-image model, or XL's refiner.
        prompt: as in `text_to_image`.
        image: `[H, W, 3]` or `[B, H, W, 3]`; its size is the result's.
        strength: in (0, 1], how much is made anew. All `steps` are taken, whatever the strength.
        **options: see `Request`.

    Returns:
        As `text_to_image`.
    """
    return text_to_image(model, prompt, image=image, strength=strength, **options)


def variations(
    model: Model,
    image: Any,
    *,
    prompt: str | None = None,
    strength: float = 0.6,
    num: int = 4,
    **options: Any,
) -> Array | np.ndarray:
    """`num` images like a given one, each from noise of its own; see `image_to_image`.

    Args:
        model: of images.
        image: as in `image_to_image`.
        prompt: for a text-to-image model, as in `text_to_image`.
        strength: in (0, 1], how much is made anew.
        num: how many.
        **options: see `Request`.

    Returns:
        `[num, H, W, C]` float32 in [-1, 1].
    """
    return generate(model, prompt=prompt, image=image, strength=strength, num=num, **options).data


def inpaint(
    model: Model,
    prompt: str | Sequence[str] | None,
    image: Any,
    mask: Any,
    *,
    strength: float = 1.0,
    **options: Any,
) -> Array | np.ndarray:
    """Makes the masked part of an image anew.

    An inpainting model (9 input channels) sees the mask and the rest of the image. Any other model
    gets the rest put back, at the right noise level, after every step.

    Args:
        model: either kind.
        prompt: as in `text_to_image`.
        image: as in `image_to_image`.
        mask: `[H, W]` or `[B, H, W]`, bool, uint8 or float in [0, 1]; true, or above the middle,
            is made anew.
        strength: in (0, 1]; 1 makes the masked part from pure noise.
        **options: see `Request`.

    Returns:
        As `text_to_image`.

    Raises:
        ValueError: a mask of another size than the image; else as `text_to_image`.
    """
    return text_to_image(model, prompt, image=image, mask=mask, strength=strength, **options)


def outpaint(
    model: Model,
    prompt: str | Sequence[str] | None,
    image: Any,
    *,
    top: int = 0,
    bottom: int = 0,
    left: int = 0,
    right: int = 0,
    overlap: int = 16,
    **options: Any,
) -> Array | np.ndarray:
    """Continues an image beyond its edges.

    Args:
        model: as in `inpaint`.
        prompt: of the whole image.
        image: as in `image_to_image`.
        top: pixels to add; likewise `bottom`, `left` and `right`. With them, the image's sides must
            be multiples of the model's factor.
        bottom: see `top`.
        left: see `top`.
        right: see `top`.
        overlap: pixels inside the old edges that are made anew too, so that no seam shows.
        **options: see `inpaint`.

    Returns:
        As `text_to_image`, of the larger size.
    """
    grown, mask = canvas(image, (top, bottom, left, right), overlap)
    return inpaint(model, prompt, grown, mask, **options)


def canvas(
    image: Any, margins: tuple[int, int, int, int], overlap: int = 16
) -> tuple[np.ndarray, np.ndarray]:
    """A larger image whose new edges repeat the old ones, and the mask of what is to be made.

    Args:
        image: `[H, W, C]` or `[B, H, W, C]`.
        margins: pixels to add at the top, bottom, left and right.
        overlap: pixels inside the old edges that are made anew too.

    Returns:
        The image, and a mask `[H', W']` float32, 1 where it is made anew.

    Raises:
        ValueError: nothing to add, negative margins, or nothing left of the image.
    """
    top, bottom, left, right = margins
    if min(margins) < 0 or not any(margins):
        raise ValueError(
            f"expected some pixels to add, none of them negative, got top {top}, bottom {bottom}, "
            f"left {left}, right {right}"
        )
    images = np.asarray(image)
    batch = images if images.ndim == 4 else images[None]
    grown, mask = map(np.asarray, outpainting_canvas(jnp.asarray(batch), *margins, overlap=overlap))
    return (grown if images.ndim == 4 else grown[0]), mask[0, ..., 0]


def refine(
    model: Model,
    prompt: str | Sequence[str],
    latents: Array,
    *,
    start_at: float = 0.8,
    **options: Any,
) -> Array | np.ndarray:
    """Ends a run that `text_to_image(..., stop_at=...)` began, with XL's refiner.

    Give the same `steps`, `sampler` and prompt to both; and `start_at` the other's `stop_at`
    (Podell et al. 2023, section 2.5).

    Args:
        model: the refiner.
        prompt: as in `text_to_image`.
        latents: `[B, h, w, C]` of the first model, still noisy.
        start_at: share of the noise that is gone.
        **options: see `Request`; the size is that of the latents.

    Returns:
        As `text_to_image`.
    """
    return text_to_image(model, prompt, latents=latents, start_at=start_at, **options)


def class_to_image(
    model: Model, labels: int | Sequence[int], *, guidance: float = 3.0, **options: Any
) -> Array | np.ndarray:
    """Images of classes, with classifier-free guidance.

    Args:
        model: class-conditional: a run with labels, CompVis' `cin256-v2`.
        labels: one class or several, by number or name.
        guidance: scale of classifier-free guidance away from "no class"; 1: unguided, at half the
            cost.
        **options: see `Request`.

    Returns:
        `[B, H, W, C]` float32 in [-1, 1], B = labels x `num` (1).

    Raises:
        ValueError: unknown labels, or a model without classes.

    Example:
        >>> model = load_pipeline("cin256-v2/model.ckpt")  # doctest: +SKIP
        >>> images = class_to_image(model, [207, 360], num=4)  # doctest: +SKIP
    """
    if "labels" not in model.conditioner.asks:
        raise ValueError(f"this model has no classes: use {_maker(model)}")
    if labels is None:
        raise ValueError("expected one class or more, got None; use unconditional or generate")
    options.setdefault("num", 1)
    return generate(model, labels=labels, guidance=guidance, **options).data


def upscale(model: Model, image: Any, **options: Any) -> Array | np.ndarray:
    """Images made larger by a model that was trained to: a run of `upscale`, or a published one.

    Args:
        model: conditioned on small images.
        image: `[h, w, C]` or `[B, h, w, C]`, uint8 or floats in [-1, 1], of any size that the
            network takes.
        **options: see `Request`; `noise_level` hides faults of images that another model made.

    Returns:
        `[B, H, W, C]` float32 in [-1, 1], each side larger by the model's factor.

    Raises:
        ValueError: a model that enlarges nothing, or something else than images.

    Example:
        >>> large = upscale(load_run("runs/upscale"), small)  # doctest: +SKIP
    """
    if "low_res" not in model.conditioner.asks:
        raise ValueError(f"this model enlarges nothing: use {_maker(model)}")
    return enlarge(model, image, **options).data


def enlarge(model: Model, image: Any, **options: Any) -> Samples:
    """`upscale`, with all that `generate` gives.

    Args:
        model: see `upscale`.
        image: see `upscale`.
        **options: see `upscale`.

    Raises:
        ValueError: something else than images.
    """
    images = np.asarray(image)
    images = images[None] if images.ndim == 3 else images
    if images.ndim != 4:
        raise ValueError(
            f"expected small images [h, w, C] or [B, h, w, C], got shape {list(np.shape(image))}"
        )
    options.setdefault("num", len(images))
    height, width = (side * model.conditioner.factor for side in images.shape[1:3])
    return generate(model, low_res=images, height=height, width=width, **options)


def unconditional(model: Model, **options: Any) -> Array | np.ndarray:
    """Images of nothing in particular: google/ddpm-* and the like.

    Args:
        model: one without text encoders.
        **options: see `Request`.

    Returns:
        `[B, H, W, C]` float32 in [-1, 1].
    """
    if "prompt" in model.conditioner.asks:
        raise ValueError("this model makes images of a text: use text_to_image")
    options.setdefault("num", 1)
    options.setdefault("guidance", 1.0)
    return generate(model, **options).data


def _maker(model: Model) -> str:
    """The function that makes images with this model."""
    asks = model.conditioner.asks
    if "prompt" in asks:
        return "text_to_image"
    if "low_res" in asks:
        return "upscale"
    return "class_to_image" if "labels" in asks else "unconditional"
