"""The published networks inside a model, by the names of their folders."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from diffax.conditioning import Joined
from diffax.generation import Model
from diffax.models import BoundModule, ControlledUNet
from diffax.pretrained.conditioning import PublishedText


def text_of(model: Model) -> PublishedText | None:
    """The published text encoders among what a model is told by, or None."""
    return next((part for part in _conditioners(model) if isinstance(part, PublishedText)), None)


def parts_of(model: Model) -> dict[str, BoundModule]:
    """`{"unet": ..., "text_encoder": ..., "text_encoder_2": ...}`, without controls."""
    network = model.network
    if isinstance(network.module, ControlledUNet):
        network = BoundModule(network.module.unet, {"params": network.params["params"]["unet"]})
    text = text_of(model)
    return {"unet": network} | (
        {} if text is None else dict(zip(_names(text), text.encoders, strict=True))
    )


def with_parts(model: Model, parts: Mapping[str, Any], text: PublishedText | None = None) -> Model:
    """The model with other parameters of some parts, and perhaps another reader of texts.

    Args:
        model: of which everything else stays.
        parts: parameters `{"params": ...}` by the names of `parts_of`.
        text: takes the place of the published text encoders, before `parts` are set.
    """
    network, own = model.network, text_of(model)
    if "unet" in parts:
        params = parts["unet"]
        if isinstance(network.module, ControlledUNet):
            params = {"params": network.params["params"] | {"unet": params["params"]}}
        network = BoundModule(network.module, params)
    changed = text if text is not None else own
    if changed is not None:
        named = zip(_names(changed), changed.encoders, strict=True)
        encoders = tuple(
            BoundModule(encoder.module, parts.get(name, encoder.params)) for name, encoder in named
        )
        changed = dataclasses.replace(changed, encoders=encoders)
    told = tuple(changed if part is own else part for part in _conditioners(model))
    conditioner = Joined(told) if isinstance(model.conditioner, Joined) else told[0]
    return dataclasses.replace(model, network=network, conditioner=conditioner)


def _conditioners(model: Model) -> tuple[Any, ...]:
    joined = isinstance(model.conditioner, Joined)
    return model.conditioner.parts if joined else (model.conditioner,)


def _names(text: PublishedText) -> tuple[str, ...]:
    """XL's refiner has only the second."""
    names = ("text_encoder", "text_encoder_2")
    return names[1:] if text.xl and len(text.encoders) == 1 else names[: len(text.encoders)]
