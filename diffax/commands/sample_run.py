"""sample.py --workdir: samples of a model that train.py trained."""

from __future__ import annotations

import argparse
import dataclasses
import time

import numpy as np

from diffax import plotting
from diffax.commands.errors import UsageError
from diffax.commands.progress import Progress
from diffax.commands.reading import read_mask, read_picture
from diffax.training import Run, load_run
from diffax.training.config import nearest
from diffax.training.generate import Edit, SampleConfig


def sample_run(flags: argparse.Namespace) -> int:
    """Draws, writes, and says so."""
    run = load_run(flags.workdir, ema=flags.ema, step=flags.checkpoint)
    num = flags.num or 16
    config = _config(run.config.sample, flags)
    labels = _labels(run, flags.label, num)
    if config.guidance != 1 and not run.num_classes:
        raise UsageError("--guidance needs a model with classes; this one was trained without")
    config.solver(run.schedule), config.grid(run.schedule)  # what cannot be is refused here
    edit = _edit(run, flags)
    path = plotting.needs_trajectory(flags.out)
    began = time.perf_counter()
    with Progress(num, min(num, config.batch_size), config.steps, flags.quiet) as progress:
        samples = run.sample(
            num,
            labels=labels,
            config=config,
            edit=edit,
            trajectory=path,
            on_step=progress.step,
        )
    seconds = time.perf_counter() - began

    x, states = samples.x, samples.path
    if run.facts.kind == "points":
        x = run.facts.coordinates(x)
        states = None if states is None else run.facts.coordinates(states)
    plotting.export(
        flags.out,
        x,
        labels=samples.label,
        trajectory=states,
        times=np.asarray(config.grid(run.schedule).t)[1:] if path else None,
        metadata={"diffax": _recipe(run, config, flags)},
    )
    if not flags.quiet:
        print(
            f"{num:,} samples of {flags.workdir} (step {run.step:,}, {run.average}) in "
            f"{seconds:.1f} s, {num / seconds:,.1f} a second, compilation included"
        )
        print(f"wrote {flags.out}")
    return 0


def _config(config: SampleConfig, flags: argparse.Namespace) -> SampleConfig:
    """The run's own settings with what the command line says instead."""
    names = ("sampler", "steps", "eta", "spacing", "guidance", "seed", "batch_size")
    given = {n: getattr(flags, n) for n in names if getattr(flags, n) is not None}
    if "sampler" in given and given["sampler"] != config.sampler:
        given.setdefault("eta", 0.0)  # what the recipe set was meant for its own sampler
    return dataclasses.replace(config, **given)


def _labels(run: Run, given: list[str] | None, num: int) -> np.ndarray | None:
    """Labels, as numbers or names, in turn over the samples."""
    if given is None:
        return None
    if not run.num_classes:
        raise UsageError("--label needs a model with classes; this one was trained without")
    names = list(run.facts.class_names)
    labels = []
    for text in given:
        if text in names:
            labels.append(names.index(text))
        elif text.lstrip("-").isdigit():
            labels.append(int(text))
            if not 0 <= labels[-1] < run.num_classes:
                raise UsageError(f"--label should be 0 to {run.num_classes - 1}, got {text}")
        else:
            raise UsageError(f"--label: no class is called {text!r}; {nearest(text, names)}")
    return np.resize(np.array(labels, np.int32), num)


def _edit(run: Run, flags: argparse.Namespace) -> Edit | None:
    """The picture to start from, as the model sees pictures."""
    if flags.init_image is None:
        return None
    if run.facts.kind != "image":
        raise UsageError("--init-image needs a model of images; this one makes points")
    *size, channels = run.facts.shape
    known = read_picture(flags.init_image, channels=channels, size=tuple(size))
    anew = None
    if flags.mask is not None:
        anew = read_mask(flags.mask, flags.init_image, size=tuple(size)) >= 128
    strength = flags.strength or (1.0 if anew is not None else 0.5)
    return Edit(
        known=known.astype(np.float32) / 127.5 - 1,
        strength=strength,
        keep=None if anew is None else np.float32(~anew),
    )


def _recipe(run: Run, config: SampleConfig, flags: argparse.Namespace) -> str:
    """What made a picture, kept inside it."""
    parts = {
        "workdir": run.workdir.name,
        "step": run.step,
        "average": run.average,
        "sampler": config.sampler,
        "steps": config.steps,
        "eta": config.eta,
        "spacing": config.spacing,
        "guidance": config.guidance,
        "label": flags.label,
        "seed": config.seed,
        "init_image": flags.init_image,
        "strength": flags.strength,
        "mask": flags.mask,
    }
    return ", ".join(f"{key}={value}" for key, value in parts.items() if value is not None)
