"""Images that a ControlNet or a T2I-Adapter follows: edges, depths, poses."""

from collections.abc import Mapping
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
from jax import Array

from diffax import image_range
from diffax.conditioning.conditioner import Condition, Told
from diffax.noun import noun, structure


@noun
class Control:
    """One image or several for each sample, as the networks of `diffax.models.controlnet` read.

    The condition is `{"control": [B, H, W, C]}` in [0, 1], the images one after the other along
    the channels; and of a request also `{"control_scale": [B, N]}`, or `[B, N, count]` in guess
    mode, in which the unguided guess sees no image.

    Attributes:
        channels: of each of the N images.
        guess: relative weights of the residuals in guess mode, one tuple for each control.
        always_guess: the network was made for guess mode only (global average pooling).

    Example:
        >>> told = {"control": np.full((1, 2, 2, 3), 255, np.uint8)}
        >>> float(Control().encode({}, told)["control"].max())
        1.0
    """

    channels: tuple[int, ...] = structure(default=(3,))
    guess: tuple[tuple[float, ...], ...] = structure(default=())
    always_guess: bool = structure(default=False)

    reads: ClassVar[tuple[str, ...]] = ("control",)
    asks: ClassVar[tuple[str, ...]] = ("control", "control_scale", "control_guess")
    params: ClassVar[dict] = {}
    trained: ClassVar[bool] = False

    def fitted(self, spec: Any) -> "Control":
        """Itself; the data must have a column "control".

        Raises:
            ValueError: they have none, or of other channels.
        """
        column = spec.columns.get("control")
        if column is None:
            raise ValueError(
                "a control needs data with control images, these have none; give their folder"
            )
        if column.shape[-1] != sum(self.channels):
            raise ValueError(
                f"expected control images of {sum(self.channels)} channels, the data's have "
                f"{column.shape[-1]}"
            )
        return self

    def init(self, key: Array) -> dict:
        """Nothing: what reads the images is part of the network."""
        return {}

    def columns(self, batch: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The images, uint8 or floats in [-1, 1]."""
        return {"control": batch["control"]}

    def request(self, request: Any, num: int) -> tuple[dict[str, Any], dict[str, Any]]:
        """The images and how much they count, for the prompt and for what it is guided away from.

        Raises:
            ValueError: no image, another number of them, or images of another size.
        """
        images, scales = given(request, self.channels, num)
        shown = {"control": np.concatenate(images, axis=-1)}
        scale = np.tile(np.asarray(scales, np.float32), (num, 1))
        if not (request.control_guess or self.always_guess):
            told = shown | {"control_scale": scale}
            return told, dict(told)
        if not self.guess:
            raise ValueError(
                "control_guess: a run of controlnet knows no guess mode; give its base what it "
                "learned, with_controls(base, *controls_of(run.network))"
            )
        scale = scale[:, :, None] * np.asarray(self.guess, np.float32)[None]
        return shown | {"control_scale": scale}, shown | {"control_scale": np.zeros_like(scale)}

    def drop(self, key: Array, told: Told) -> Told:
        """Nothing is dropped: a control is always followed."""
        return told

    def encode(self, params: Any, told: Told) -> Condition:
        """The images in [0, 1]."""
        images = jnp.asarray(told["control"])
        if images.dtype == jnp.uint8:
            images = image_range.to_float(images)
        condition = {"control": (images.astype(jnp.float32) + 1) / 2}
        if "control_scale" in told:
            condition["control_scale"] = jnp.asarray(told["control_scale"], jnp.float32)
        return condition


def given(
    request: Any, channels: tuple[int, ...], num: int
) -> tuple[list[np.ndarray], list[float]]:
    """A request's control images `[num, H, W, C]` in [-1, 1], and their scales.

    Args:
        request: `control` is one image or batch of images, or a list with one for each of
            `channels`; `control_scale` one number or a list likewise.
        channels: of each image.
        num: samples.

    Raises:
        ValueError: none, another number, another size than the samples, or scales out of range.
    """
    count = len(channels)
    if request.control is None:
        raise ValueError(
            f"this model follows {count} control image{'s' * (count > 1)}: give control="
        )
    images = request.control if isinstance(request.control, list | tuple) else [request.control]
    if len(images) != count:
        raise ValueError(
            f"expected {count} control images, one for each control, got {len(images)}"
        )
    size = (request.height, request.width)
    shown = []
    for image, wide in zip(images, channels, strict=True):
        image = image_range.as_images(image, num, wide)
        if image.shape[1:3] != size:
            raise ValueError(
                f"expected control images of the samples' size {size[0]}x{size[1]}, got "
                f"{image.shape[1]}x{image.shape[2]}: resize them, or give height and width"
            )
        shown.append(image)
    scales = request.control_scale
    scales = [1.0 if scales is None else scales] * count if np.ndim(scales) == 0 else list(scales)
    if len(scales) != count or not all(np.isfinite(s) and s >= 0 for s in scales):
        raise ValueError(
            f"control_scale: expected one finite number >= 0, or {count} of them, got {scales}"
        )
    return shown, [float(s) for s in scales]
