"""Add-ons that a command line names: LoRAs, new tokens, images to follow or to resemble."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

from diffax.commands.errors import UsageError
from diffax.commands.opening import Opened
from diffax.commands.reading import read_image
from diffax.data import controls
from diffax.generation import Model, with_controls

_IMAGE_PROMPT = ("image_encoder", "image_prompt", "image_prompt_scale")
_CONTROL = ("control_image", "control_scale", "control_edges", "control_guess")


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of sample.py for add-ons; most may be given several times."""
    group = parser.add_argument_group("add-ons of published models")

    def several(flag: str, metavar: str, text: str, kind: Any = str) -> None:
        group.add_argument(flag, action="append", metavar=metavar, type=kind, help=text)

    several("--lora", "F[:S]", "a LoRA's file, with its scale (1); again for another")
    several("--embedding", "F", "a new token's vectors; prompts say its name, or the file's")
    several("--control", "DIR", "a ControlNet's folder or file; again for another")
    several("--control-image", "F", "what it follows; one for each --control")
    several("--control-scale", "S", "how much it counts (1); one, or one for each", float)
    for flag, text in (
        ("--control-edges", "follow the edges (Canny) of the control images"),
        ("--control-guess", "guess mode: the control counts though the prompt is empty"),
    ):
        group.add_argument(flag, action="store_true", help=text)
    for flag, metavar, text, kind in (
        ("--ip-adapter", "F", "an IP-Adapter's file, for --image-prompt", str),
        ("--image-encoder", "DIR", "the folder of its CLIP image encoder", str),
        ("--image-prompt", "F", "an image that the samples should resemble", str),
        ("--image-prompt-scale", "S", "how much it counts (1)", float),
    ):
        group.add_argument(flag, metavar=metavar, type=kind, help=text)


def check_flags(flags: argparse.Namespace) -> None:
    """Refuses flags that need others.

    Raises:
        UsageError: in one line.
    """
    for name in _CONTROL:
        if getattr(flags, name) and not flags.control and flags.workdir is None:
            raise UsageError(f"--{name.replace('_', '-')} needs --control, what follows the image")
    if flags.control and len(flags.control_image or ()) != len(flags.control):
        raise UsageError(
            f"--control is given {len(flags.control)} times, --control-image "
            f"{len(flags.control_image or ())} times; give one image for each control"
        )
    for name in _IMAGE_PROMPT:
        if getattr(flags, name) is not None and not flags.ip_adapter:
            raise UsageError(f"--{name.replace('_', '-')} needs --ip-adapter, what looks at images")
    if flags.ip_adapter and not (flags.image_encoder and flags.image_prompt):
        raise UsageError("--ip-adapter needs --image-encoder DIR and --image-prompt F")
    scales = flags.control_scale or ()
    if len(scales) not in (0, 1, len(flags.control_image or ())):
        raise UsageError("give one --control-scale, or one for each --control")


def extended(source: Opened, flags: argparse.Namespace) -> Opened:
    """The model with the add-ons that the flags name.

    Raises:
        FileNotFoundError, ValueError: files that are missing, or made for another base model.
    """
    from diffax.pretrained import (
        load_lora,
        load_network,
        with_embedding,
        with_image_prompt,
        with_loras,
    )

    dtype = flags.dtype or "float32"
    model: Model = source.model
    loras = []
    for text in flags.lora or ():
        file, scale = split_scale(text)
        loras.append((load_lora(file, model), scale))
    model = with_loras(model, *loras) if loras else model
    for file in flags.embedding or ():
        model = with_embedding(model, file)
    if flags.ip_adapter:
        encoder = load_network(flags.image_encoder, dtype=dtype)
        model = with_image_prompt(model, flags.ip_adapter, encoder)
    if flags.control:
        nets = [load_network(folder, dtype=dtype) for folder in flags.control]
        model = with_controls(model, *nets)
    _check_images(flags, model)
    return dataclasses.replace(source, model=model)


def _check_images(flags: argparse.Namespace, model: Model) -> None:
    """Refuses images to follow where nothing follows them, and the other way round."""
    follows = "control" in model.conditioner.asks
    if follows and not flags.control_image:
        raise UsageError("--control-image F is missing: what the samples follow")
    for name in _CONTROL:
        if getattr(flags, name) and not follows:
            raise UsageError(
                f"--{name.replace('_', '-')} needs a model that follows an image: --control, or a "
                "run of controlnet"
            )


def fields(source: Opened, flags: argparse.Namespace, edit: dict[str, Any]) -> dict[str, Any]:
    """What a request says of the add-ons; `edit` is what it says of an image to start from."""
    told: dict[str, Any] = {}
    if flags.ip_adapter:
        told["image_prompt"] = read_image(flags.image_prompt)
        told["image_prompt_scale"] = flags.image_prompt_scale
    return told | _controls(source, flags, edit) if flags.control_image else told


def _controls(source: Opened, flags: argparse.Namespace, edit: dict[str, Any]) -> dict[str, Any]:
    """The control images, of the samples' size, and how much they count."""
    model = source.model
    height, width = (n * model.factor for n in model.shape[:2])
    size = (flags.height or height, flags.width or width)
    if "image" in edit:
        size = edit["image"].shape[:2]
    wide = model.conditioner.parts[-1].channels
    images = [
        read_image(file, channels=channels, size=size)
        for file, channels in zip(flags.control_image, wide, strict=True)
    ]
    if flags.control_edges:
        # White on black: all channels are alike.
        images = [controls.edges(image)[..., : image.shape[-1]] for image in images]
    told: dict[str, Any] = {"control": images, "control_guess": flags.control_guess}
    scales = flags.control_scale
    if scales:
        told["control_scale"] = scales[0] if len(scales) == 1 else scales
    return told


def split_scale(text: str) -> tuple[Path, float]:
    """A file and its scale.

    Example:
        >>> split_scale("pixels.safetensors:0.8")[1]
        0.8
    """
    file, colon, scale = text.rpartition(":")
    if not colon:
        return Path(text), 1.0
    try:
        return Path(file), float(scale)
    except ValueError:
        return Path(text), 1.0
