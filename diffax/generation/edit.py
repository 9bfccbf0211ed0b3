"""Where a run starts, and what of an image or a sequence it keeps.

One convention for masks: 1 (white, true) is made anew, 0 is kept.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from diffax import image_range
from diffax.categorical import Process
from diffax.codecs import is_written
from diffax.denoiser import Denoiser
from diffax.generation.depth import depth_channel, sees_depth
from diffax.noun import noun, structure
from diffax.sampling import Inpainting, KeptInside
from diffax.schedules import Point
from diffax.solvers import Solver


@dataclasses.dataclass(frozen=True)
class Edit:
    """What a request starts from, judged and encoded.

    Attributes:
        shape: of one sample in model space.
        arrays: with one row a sample: "start", a state to go on from; "known", the clean image in
            model space; "mask"; "seen", what a model of more channels is shown besides x.
        noised: whether the run starts from the noised image instead of from pure noise.
        instructed: whether what is shown besides x is an image that a text says how to edit.
    """

    shape: tuple[int, ...]
    arrays: dict[str, Array]
    noised: bool = False
    instructed: bool = False

    def channels(self, rows: dict[str, Array]) -> dict[str, Array]:
        """What a model that is shown an image sees besides x, as a part of its condition."""
        return {"channels": rows["seen"]} if "seen" in rows else {}

    def dynamic(self, rows: dict[str, Array]) -> Start:
        """The part of it that a compiled run takes."""
        return Start(rows.get("start"), rows.get("known"), rows.get("mask"), self.noised)


@noun
class Start:
    """The start of a compiled run, and what it keeps.

    Attributes:
        state: to go on from, `[B, ...]`, or None.
        known: clean data in model space, `[B, ...]`, or None.
        mask: `[B, h, w, 1]`, of sequences `[B, L, C]`, 1 where `known` is made anew, or None:
            everywhere.
        noised: start from `known` noised to the grid's first point.
    """

    state: Any
    known: Any
    mask: Any
    noised: bool = structure(default=False)

    def started(
        self,
        denoiser: Denoiser,
        solver: Solver,
        grid: Point,
        scale: Array,
        noise: Array,
        process: Process,
    ) -> tuple[Denoiser, Solver, Array]:
        """The denoiser, solver and first state of a run from standard normal `noise`."""
        if self.state is not None:
            return denoiser, solver, self.state
        x = process.begin(noise, scale)
        if self.noised:
            x = process.noised(self.known, noise, grid[0]).astype(x.dtype)
        if self.mask is not None:
            x = process.with_known(x, self.known, self.mask)
            denoiser = KeptInside(denoiser, self.known, self.mask, noise, grid.t[0], process)
            solver = Inpainting(solver, self.known, self.mask, noise=noise, process=process)
        return denoiser, solver, x

    def finished(self, x: Array) -> Array:
        """The last state, with the kept part as it was: some grids do not end quite clean."""
        if self.mask is None:
            return x
        return (self.mask * x + (1 - self.mask) * self.known).astype(x.dtype)


def edit_of(model: Any, codec: Any, request: Any, num: int) -> Edit:
    """What the request starts from.

    Raises:
        ValueError: images or masks of the wrong kind, size or number, or a size that the model
            cannot make.
    """
    if request.latents is not None:
        return _continued(request, num)
    if request.prefix or request.suffix:
        return _infilled(model, codec, request, num)
    inpainting = getattr(model.network.module, "in_channels", None) == 2 * model.shape[-1] + 1
    if request.image is None:
        shape = _shape(model, request)
        if inpainting:
            raise ValueError(
                "this is an inpainting model: it needs an image and a mask; or load a "
                "text-to-image model"
            )
        if instructed(model):
            raise ValueError("this model edits an image as a text says: give image")
        if request.strength is not None:
            raise ValueError("strength needs an image to start from")
        return Edit(shape, _depth(model, request, shape, num))
    if len(model.shape) == 2:
        return _edited_sequence(model, codec, request, num)
    if is_written(model.codec) or len(model.shape) != 3:
        raise ValueError(
            "something to start from needs a model of images or sequences; this one makes "
            f"{list(model.shape)}"
        )
    if request.height is not None or request.width is not None:
        raise ValueError("the size is the image's; resize that instead of giving height or width")
    images = jnp.asarray(image_range.as_images(request.image, num, _channels(model)))
    height, width = images.shape[1:3]
    shape = _shape(model, dataclasses.replace(request, height=height, width=width))
    if instructed(model):
        if request.mask is not None or request.strength is not None:
            raise ValueError("a model that edits as a text says takes no mask and no strength")
        # Unscaled, as it was trained.
        return Edit(shape, {"seen": codec.module.unscale(codec.encode(images))}, instructed=True)
    depth = _depth(model, request, shape, num)
    if request.mask is None:
        known = codec.encode(images)
        return Edit(shape, {"known": known, **depth}, noised=True)
    masks = as_mask(request.mask, (height, width), num)
    small = masks[:, :: model.factor, :: model.factor]
    known = codec.encode(images)
    noised = request.strength is not None and request.strength < 1
    if inpainting:
        # Of the part that is made anew the model sees mid-grey.
        rest = codec.encode(images * (1 - masks))
        arrays = {"known": known, "seen": jnp.concatenate([small, rest], axis=-1)}
        return Edit(shape, arrays, noised)
    return Edit(shape, {"known": known, "mask": small, **depth}, noised)


def _edited_sequence(model: Any, codec: Any, request: Any, num: int) -> Edit:
    """Sequences `[L, C]` or `[num, L, C]` to start from, and which of their numbers are made anew.

    What is missing is made anew, whatever stands there: not a number, too.
    """
    given = np.asarray(request.image)
    given = given[None] if given.ndim == 2 else given
    if given.ndim != 3 or len(given) not in (1, num) or given.shape[1:] != model.shape:
        raise ValueError(
            f"expected a sequence {list(model.shape)} to start from, or {num}, got shape "
            f"{list(np.shape(request.image))}"
        )
    noised = request.strength is not None and request.strength < 1
    mask = None
    if request.mask is not None:
        mask = np.asarray(request.mask)
        mask = mask[..., None] if mask.shape in ((len(given[0]),), given.shape[:2]) else mask
        try:
            mask = np.broadcast_to(mask >= 0.5, (num, *model.shape))
        except ValueError:
            raise ValueError(
                f"expected a mask [L], [L, C] or one for each sequence {list(model.shape)}, got "
                f"shape {list(np.shape(request.mask))}"
            ) from None
        given = np.where(mask, np.zeros((), given.dtype), given)
    if not np.isfinite(given).all():
        raise ValueError("the sequence has numbers that are not finite where the mask keeps them")
    known = jnp.broadcast_to(codec.encode(jnp.asarray(given)), (num, *model.shape))
    if mask is None:
        return Edit(model.shape, {"known": known}, noised=True)
    return Edit(model.shape, {"known": known, "mask": jnp.asarray(mask, jnp.float32)}, noised)


def instructed(model: Any) -> bool:
    """Whether the model edits an image as a text says (InstructPix2Pix): twice the channels."""
    channels = getattr(model.network.module, "in_channels", None)
    twice = model.factor > 1 and channels == 2 * model.shape[-1]
    return twice and "low_res" not in model.conditioner.asks


def _depth(model: Any, request: Any, shape: tuple[int, ...], num: int) -> dict[str, Array]:
    """What a model that sees depth is shown besides x."""
    if not sees_depth(model):
        if request.depth is not None:
            raise ValueError("depth says nothing to this model; leave it out")
        return {}
    if request.depth is None:
        raise ValueError("this model follows a depth map: give depth, the larger the nearer")
    return {"seen": depth_channel(request.depth, (shape[0], shape[1]), num)}


def _infilled(model: Any, codec: Any, request: Any, num: int) -> Edit:
    """A text whose beginning or end is kept, character by character."""
    if not hasattr(codec, "ids"):
        raise ValueError("prefix and suffix need a model that makes texts; this one makes none")
    (length,) = model.shape
    first, last = codec.ids(request.prefix), codec.ids(request.suffix)
    made = length - len(first) - len(last)
    if made < 1:
        raise ValueError(
            f"prefix and suffix have {len(first) + len(last)} characters, and a sample has "
            f"{length}: give fewer than those"
        )
    known = np.concatenate([first, np.zeros(made, np.int32), last])
    mask = np.repeat(np.array([0, 1, 0], np.float32), [len(first), made, len(last)])
    tiled = {"known": jnp.tile(known, (num, 1)), "mask": jnp.tile(mask, (num, 1))}
    return Edit(model.shape, tiled)


def _continued(request: Any, num: int) -> Edit:
    latents = jnp.asarray(request.latents, jnp.float32)
    if latents.shape[0] != num:
        raise ValueError(f"expected latents of {num} samples, got {latents.shape[0]}")
    return Edit(latents.shape[1:], {"start": latents})


def _shape(model: Any, request: Any) -> tuple[int, ...]:
    """Of one sample in model space, for the height and width asked for."""
    if request.height is None and request.width is None:
        return model.shape
    if len(model.shape) != 3:
        raise ValueError(f"height and width need a model of images, not of {list(model.shape)}")
    factor = model.factor
    size = tuple(
        asked or own * factor
        for asked, own in zip((request.height, request.width), model.shape, strict=False)
    )
    if any(n < factor or n % factor for n in size):
        near = tuple(max(1, round(n / factor)) * factor for n in size)
        raise ValueError(
            f"height and width must be positive multiples of {factor}, got {size[0]}x{size[1]}; "
            f"the nearest are {near[0]}x{near[1]}"
        )
    return (size[0] // factor, size[1] // factor, model.shape[-1])


def _channels(model: Any) -> int:
    return 3 if model.factor > 1 else model.shape[-1]


def as_mask(mask: Any, size: tuple[int, int], num: int) -> Array:
    """`[num, H, W, 1]` float32: 1 is made anew, 0 is kept.

    Raises:
        ValueError: of another size than the image, or of another number.
    """
    masks = np.asarray(mask)
    masks = masks[None] if masks.ndim == 2 else masks
    if masks.ndim == 4 and masks.shape[-1] == 1:
        masks = masks[..., 0]
    if masks.ndim != 3 or masks.shape[1:] != tuple(size):
        raise ValueError(
            f"expected a mask of the image's size {size[0]}x{size[1]}, got shape "
            f"{np.shape(mask)}: resize one of them"
        )
    if masks.shape[0] not in (1, num):
        raise ValueError(f"expected one mask, or {num}, got {masks.shape[0]}")
    limit = 127.5 if masks.dtype == np.uint8 else 0.5
    ones = jnp.asarray(masks >= limit, jnp.float32)[..., None]
    return jnp.broadcast_to(ones, (num, *ones.shape[1:]))
