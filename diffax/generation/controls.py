"""A model that also follows control images, by networks trained beside it."""

from __future__ import annotations

import dataclasses
from typing import Any

from diffax.conditioning import Control, Features, Joined, Nothing
from diffax.generation.model import Model
from diffax.models import (
    BoundModule,
    ControlNetModel,
    T2IAdapter,
    UNet2DConditionModel,
    UNetControl,
    controlled,
)
from diffax.models.controlnet import guess_scales


def with_controls(model: Model, *controls: BoundModule) -> Model:
    """A text-to-image model with ControlNets or T2I-Adapters, for requests that give `control`.

    Args:
        model: from `load_pipeline`, or a run with a `UNet2DConditionModel` or a `UNet`.
        *controls: from `load_network`, or of a run.

    Returns:
        A model that always follows an image for each control: the `control`, `control_scale` and
        `control_guess` of a `Request`.

    Raises:
        ValueError: one that was made for another base model, both kinds, or a model that has some.

    Example:
        >>> canny = load_network("sd-controlnet-canny")  # doctest: +SKIP
        >>> model = with_controls(load_pipeline("stable-diffusion-v1-5"), canny)  # doctest: +SKIP
        >>> images = text_to_image(model, "a fox", control=edges)  # doctest: +SKIP
    """
    parts = getattr(model.conditioner, "parts", (model.conditioner,))
    if any("control" in part.asks for part in parts):
        raise ValueError("this model has controls already; give all of them at once")
    told = tuple(part for part in parts if not isinstance(part, Nothing))
    modules: list[Any] = [control.module for control in controls]
    for module in modules:
        if not isinstance(module, ControlNetModel | UNetControl | T2IAdapter):
            name = type(module).__name__
            raise ValueError(f"expected a ControlNet or a T2I-Adapter, got a {name}")
    kinds = {isinstance(module, T2IAdapter) for module in modules}
    if len(kinds) > 1:
        raise ValueError("give ControlNets or T2I-Adapters, not both")
    if kinds == {True}:
        for module in modules:
            _check_fit(module, model.network.module)
        return dataclasses.replace(model, conditioner=Joined((*told, Features(controls))))
    network = controlled(model.network, *controls)
    control = Control(
        channels=tuple(module.conditioning_channels for module in modules),
        guess=tuple(_guess(module) for module in modules),
        always_guess=any(module.global_pool_conditions for module in modules),
    )
    return dataclasses.replace(model, network=network, conditioner=Joined((*told, control)))


def _check_fit(adapter: T2IAdapter, unet: Any) -> None:
    """Refuses a T2I-Adapter whose features are not as wide as the U-Net's levels."""
    wide = unet.block_out_channels if isinstance(unet, UNet2DConditionModel) else (0,)
    light = adapter.adapter_type == "light_adapter"
    own = (*adapter.channels, adapter.channels[-1]) if light else adapter.channels
    # One more may be for the middle.
    if own != (*wide, wide[-1])[: len(own)]:
        raise ValueError(
            f"this T2I-Adapter was made for another base model: its features are {list(own)} "
            f"wide, the U-Net's levels {list(wide)}"
        )


def _guess(module: Any) -> tuple[float, ...]:
    """How much each residual counts in guess mode; pooled ones all count alike."""
    if module.global_pool_conditions:
        return (1.0,) * module.count
    return tuple(float(scale) for scale in guess_scales(module.count))
