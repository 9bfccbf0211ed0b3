"""Making a part of a picture anew, and what lies beyond its edges."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from diffax.pretrained.decoding import encode
from diffax.pretrained.generate import from_image, plan_of
from diffax.pretrained.masking import KnownPart
from diffax.pretrained.pipeline import Pipeline
from diffax.pretrained.run import finish, run


def inpaint(
    pipe: Pipeline,
    prompt: str | Sequence[str] | None,
    image: Any,
    mask: Any,
    *,
    strength: float = 1.0,
    **options: Any,
) -> jax.Array:
    """Makes the masked part of a picture anew.

    An inpainting model (9 input channels) sees the mask and the rest of the picture. Any other
    model gets the rest put back, at the right noise level, after every step.

    Args:
        pipe: either kind of model.
        prompt: as in `text_to_image`.
        image: as in `image_to_image`.
        mask: `[H, W]` or `[B, H, W]`, bool, uint8 or float in [0, 1]; true, or above the middle,
            is made anew.
        strength: 0..1; 1 makes the masked part from pure noise.
        **options: see `Options`.

    Returns:
        As `text_to_image`.

    Raises:
        ValueError: a mask of another size than the picture; else as `text_to_image`.
    """
    chosen, prompts, pictures, size = from_image(pipe, prompt, image, options)
    masks = as_mask(mask, size, len(prompts))
    setup = plan_of(pipe, chosen, strength)
    small = masks[:, :: pipe.factor, :: pipe.factor]
    clean = encode(pipe.vae, pictures, chosen.tile)
    channels, keep = None, None
    if pipe.unet.module.in_channels != pipe.unet.module.out_channels:
        # Of the part that is made anew the model sees mid-grey.
        rest = encode(pipe.vae, pictures * (1 - masks), chosen.tile)
        channels = jnp.concatenate([small, rest], axis=-1)
    else:

        def keep(noise):
            return KnownPart(clean, noise, small)

    here, start = setup.grid[0], None
    if strength < 1:

        def start(noise):
            return here.alpha * clean + here.sigma * noise

    latents = run(pipe, prompts, chosen, size, setup, start, channels=channels, keep=keep)
    if keep is not None:
        # The last point of some grids is not quite clean.
        latents = small * latents + (1 - small) * clean
    return finish(pipe, latents, chosen)


def outpaint(
    pipe: Pipeline,
    prompt: str | Sequence[str] | None,
    image: Any,
    *,
    top: int = 0,
    bottom: int = 0,
    left: int = 0,
    right: int = 0,
    overlap: int = 16,
    **options: Any,
) -> jax.Array:
    """Continues a picture beyond its edges.

    The edge pixels are repeated outwards and made anew by `inpaint`.

    Args:
        pipe: as in `inpaint`.
        prompt: of the whole picture.
        image: as in `image_to_image`.
        top: pixels to add; likewise `bottom`, `left` and `right`. With them, the picture's sides
            must be multiples of 8.
        bottom: see `top`.
        left: see `top`.
        right: see `top`.
        overlap: pixels inside the old edges that are made anew too, so that no seam shows.
        **options: see `inpaint`.

    Returns:
        As `text_to_image`, of the larger size.
    """
    added = dict(top=top, bottom=bottom, left=left, right=right)
    if min(added.values()) < 0 or not any(added.values()):
        raise ValueError(f"expected some pixels to add, none of them negative, got {added}")
    pictures = np.asarray(image)
    edges = ((top, bottom), (left, right))
    grown = np.pad(pictures, ((0, 0),) * (pictures.ndim - 3) + edges + ((0, 0),), mode="edge")
    height, width = grown.shape[-3:-1]
    mask = np.ones((height, width), np.float32)
    inner = [
        slice(before + overlap * bool(before), length - after - overlap * bool(after))
        for (before, after), length in zip(edges, (height, width), strict=True)
    ]
    mask[tuple(inner)] = 0
    return inpaint(pipe, prompt, grown, mask, **options)


def as_mask(mask: Any, size: tuple[int, int], batch: int) -> jax.Array:
    """`[B, H, W, 1]` float32, 0 or 1.

    Raises:
        ValueError: of another size than the picture, or of another number.
    """
    masks = np.asarray(mask)
    masks = masks[None] if masks.ndim == 2 else masks
    if masks.ndim == 4 and masks.shape[-1] == 1:
        masks = masks[..., 0]
    if masks.ndim != 3 or masks.shape[1:] != tuple(size):
        raise ValueError(
            f"expected a mask of the picture's size {size[0]}x{size[1]}, got shape "
            f"{np.shape(mask)}: resize one of them"
        )
    if masks.shape[0] not in (1, batch):
        raise ValueError(f"expected one mask, or {batch}, got {masks.shape[0]}")
    limit = 127.5 if masks.dtype == np.uint8 else 0.5
    ones = jnp.asarray(masks >= limit, jnp.float32)[..., None]
    return jnp.broadcast_to(ones, (batch, *ones.shape[1:]))
