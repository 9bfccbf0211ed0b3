"""A model that also follows control images, by networks trained beside it."""

from __future__ import annotations

import dataclasses
from typing import Any

from diffax.conditioning import Control, Joined, Nothing
from diffax.generation.model import Model
from diffax.models import BoundModule, ControlledUNet, controlled
from diffax.models.controlnet import guess_scales


def with_controls(model: Model, *controls: BoundModule) -> Model:
    """A text-to-image model with ControlNets, for requests that give `control`.

    Args:
        model: from `load_pipeline`, or a run with a `UNet2DConditionModel`.
        *controls: from `load_network`, or of a run.

    Returns:
        A model that always follows an image for each control: the `control`, `control_scale` and
        `control_guess` of a `Request`.

    Raises:
        ValueError: a ControlNet that was made for another base model, or a model that has some.

    Example:
        >>> canny = load_network("sd-controlnet-canny")  # doctest: +SKIP
        >>> model = with_controls(load_pipeline("stable-diffusion-v1-5"), canny)  # doctest: +SKIP
        >>> images = text_to_image(model, "a fox", control=edges)  # doctest: +SKIP
    """
    if isinstance(model.network.module, ControlledUNet):
        raise ValueError("this model has controls already; give all of them at once")
    network = controlled(model.network, *controls)
    modules = [control.module for control in controls]
    control = Control(
        channels=tuple(module.conditioning_channels for module in modules),
        guess=tuple(_guess(module) for module in modules),
        always_guess=any(module.global_pool_conditions for module in modules),
    )
    told = () if isinstance(model.conditioner, Nothing) else (model.conditioner,)
    return dataclasses.replace(model, network=network, conditioner=Joined((*told, control)))


def _guess(module: Any) -> tuple[float, ...]:
    """How much each residual counts in guess mode; pooled ones all count alike."""
    if module.global_pool_conditions:
        return (1.0,) * module.count
    return tuple(float(scale) for scale in guess_scales(module.count))
