"""The model that a command line names: a run of train.py, or a published one."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from diffax.commands.errors import UsageError
from diffax.generation import Model

# Flags that have a meaning for only one of the two kinds of model, or for models alone.
_RUN_ONLY = ("checkpoint", "trust")
_DRAWING_ONLY = (
    "sampler", "steps", "spacing", "karras", "guidance", "guidance_rescale", "negative", "label",
    "seed", "batch_size", "tile",
)  # fmt: skip
_PRETRAINED_ONLY = ("tokenizer", "variant", "dtype", "clip_skip", "refiner")


@dataclass(frozen=True)
class Opened:
    """A model with what a command needs to know of where it came from.

    Attributes:
        model: ready for `generate`.
        name: for people.
        num: samples where the command line says no number.
        strength: of image-to-image where it says none.
        fixed_size: whether the model makes images of one size only.
    """

    model: Model
    name: str
    num: int
    strength: float
    fixed_size: bool


def opened(
    flags: argparse.Namespace, path: Path | None = None, workdir: str | None = None
) -> Opened:
    """The model that the flags name.

    Args:
        flags: of sample.py.
        path: of another published model, such as a refiner, opened in the same way.
        workdir: of another run, such as a stage that enlarges, at its newest checkpoint.

    Raises:
        UsageError: a flag that has no meaning for this kind of model.
    """
    if workdir is not None:
        return _stage(workdir, trust=flags.trust)
    if flags.workdir is not None:
        _refuse(flags, _PRETRAINED_ONLY, "--pretrained")
        return _run(flags)
    _refuse(flags, _RUN_ONLY, "--workdir")
    return _published(flags, path or flags.pretrained)


def refuse_run_flags(flags: argparse.Namespace) -> None:
    """Refuses what has a meaning only where there is a model."""
    _refuse(flags, _RUN_ONLY, "--workdir")
    _refuse(flags, _PRETRAINED_ONLY, "--pretrained")
    _refuse(flags, _DRAWING_ONLY, "a model to draw from: --workdir or --pretrained")


def _refuse(flags: argparse.Namespace, names: tuple[str, ...], kind: str) -> None:
    for name in names:
        value = getattr(flags, name, None)
        if value is not None and value is not False:  # 0 is something said
            raise UsageError(f"--{name.replace('_', '-')} has a meaning only with {kind}")


def _run(flags: argparse.Namespace) -> Opened:
    from diffax.training.run import open_run

    workdir = flags.workdir
    run = open_run(workdir, ema=flags.ema, step=flags.checkpoint, trust=flags.trust)
    name = f"{workdir} (step {run.step:,}, {run.average})"
    return Opened(run.model_to_sample(), name, 16, 0.5, fixed_size=True)


def _stage(path: str, trust: bool) -> Opened:
    from diffax.training.run import open_run

    run = open_run(path, trust=trust)
    model = run.model_to_sample()
    if "low_res" not in model.conditioner.asks:
        raise UsageError(f"--then {path}: a run that enlarges images is needed; this one is not")
    return Opened(model, f"{path} (step {run.step:,}, {run.average})", 1, 1.0, fixed_size=False)


def _published(flags: argparse.Namespace, path: Path) -> Opened:
    from diffax.pretrained import load_pipeline

    ema = getattr(flags, "ema", None)  # evaluate.py measures a run's averages and weights alike
    if ema not in (None, "True", "true", "False", "false"):
        raise UsageError("--ema of a published single file is True or False")
    model = load_pipeline(
        path,
        dtype=flags.dtype or "float32",
        variant=flags.variant,
        tokenizer=flags.tokenizer,
        ema=str(ema).lower() == "true",
    )
    return Opened(model, path.name, 1, 0.8, fixed_size=False)
