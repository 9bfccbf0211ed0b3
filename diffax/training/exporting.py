"""What a run learned of a published model, as a file that others read."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from diffax.adapters import LowRank
from diffax.generation import Model
from diffax.models import ControlledUNet
from diffax.models.controlnet import controls_of
from diffax.objectives.denoising import adapted
from diffax.pretrained import (
    PublishedReader,
    TokenReader,
    save_embedding,
    save_lora,
    save_network,
    save_pipeline,
    trained_lora,
)
from diffax.pretrained.parts import parts_of, with_parts
from diffax.training.base import base_model
from diffax.training.run import Run, open_run


def export_run(
    workdir: str | Path, out: str | Path, ema: str | None = None, step: int | None = None
) -> str:
    """Writes what a run learned in the common layout of its kind.

    Args:
        workdir: the run's folder.
        out: what is written; nothing is overwritten. A file .safetensors for LoRA (diffusers') and
            textual inversion, a folder for a ControlNet and for a model of which all was learned.
        ema: see `load_run`.
        step: see `load_run`.

    Returns:
        What it is: "lora", "embedding", "controlnet" or "pipeline".

    Raises:
        FileExistsError: `out` is there.
        ValueError: a run that did not tune a published model; a file's name that does not end in
            .safetensors; or as `open_run`.

    Example:
        >>> export_run("runs/lora", "fox.safetensors")  # doctest: +SKIP
        'lora'
    """
    out = Path(out)
    if out.exists():
        raise FileExistsError(f"{out} exists; give another name or remove it first")
    run = open_run(workdir, ema, step)
    objective: Any = run.config.objective
    reader = getattr(objective, "conditioner", None)
    if not isinstance(reader, PublishedReader):
        raise ValueError(
            f"{workdir} did not tune a published model; its own folder is what it is read from"
        )
    model = run.model_to_sample()
    if isinstance(objective.adapter, LowRank):
        _check_ending(out, "a LoRA")
        save_lora(trained_lora(adapted(run.trainable), objective.adapter, model), out)
        return "lora"
    if isinstance(reader, TokenReader):
        _check_ending(out, "a token's vectors")
        save_embedding(model, reader.token, out)
        return "embedding"
    if isinstance(model.network.module, ControlledUNet):
        save_network(controls_of(model.network)[0], out)
        return "controlnet"
    save_pipeline(_published(run, model), out)
    return "pipeline"


def _check_ending(out: Path, what: str) -> None:
    if out.suffix != ".safetensors":
        raise ValueError(
            f"{out}: expected a name that ends in .safetensors for {what}, got {out.name!r}; "
            f"{out.with_suffix('.safetensors')} would do"
        )


def _published(run: Run, model: Model) -> Model:
    """The base with the run's networks, and the settings that its folder has."""
    parts, base = parts_of(model), base_model(run.config)
    # Its own U-Net may take more channels than the base's.
    base = dataclasses.replace(base, network=parts["unet"])
    return with_parts(base, {name: network.params for name, network in parts.items()})
