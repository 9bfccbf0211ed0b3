"""The command line of sample.py."""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Sequence

import numpy as np
from tqdm import tqdm

from diffax import plotting
from diffax.commands.errors import UsageError, one_line_errors, raise_usage
from diffax.samplers import SPACINGS, registry
from diffax.training import Run, load_run
from diffax.training.config import nearest
from diffax.training.generate import SampleConfig


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs sample.py.

    Args:
        arguments: of the command line; None: the process's own.

    Returns:
        The exit status: 0 done; 2 bad input, with one line on stderr.
    """
    return one_line_errors(lambda: _sample(_parser().parse_args(arguments)))


def _sample(flags: argparse.Namespace) -> int:
    if flags.workdir is None:
        raise UsageError("--workdir DIR is missing: the folder of a run of train.py")
    plotting.check_output(flags.out)
    run = load_run(flags.workdir, ema=flags.ema, step=flags.checkpoint)
    config = _config(run.config.sample, flags)
    labels = _labels(run, flags.label, flags.num)
    if config.guidance != 1 and not run.num_classes:
        raise UsageError("--guidance needs a model with classes; this one was trained without")
    config.solver(run.schedule), config.grid(run.schedule)  # what cannot be is refused here
    path = plotting.needs_trajectory(flags.out)
    began = time.perf_counter()
    with _Progress(flags.num, config, flags.quiet) as progress:
        samples = run.sample(
            flags.num, labels=labels, config=config, trajectory=path, on_step=progress.step
        )
    seconds = time.perf_counter() - began

    points = run.facts.kind == "points"
    x, states = samples.x, samples.path
    if points:
        x = run.facts.coordinates(x)
        states = None if states is None else run.facts.coordinates(states)
    recipe = _recipe(run, config, flags)
    plotting.export(
        flags.out,
        x,
        labels=samples.label,
        trajectory=states,
        times=np.asarray(config.grid(run.schedule).t)[1:] if path else None,
        metadata={"diffax": recipe},
    )
    if not flags.quiet:
        print(
            f"{flags.num:,} samples of {flags.workdir} (step {run.step:,}, {run.average}) in "
            f"{seconds:.1f} s, {flags.num / seconds:,.1f} a second, compilation included"
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
    }
    return ", ".join(f"{key}={value}" for key, value in parts.items() if value is not None)


class _Progress:
    """A bar over samples, moved by every step of every batch."""

    def __init__(self, num: int, config: SampleConfig, quiet: bool) -> None:
        size = min(num, config.batch_size)
        self._share = size / config.steps
        self._bar = tqdm(total=num, unit="sample", disable=quiet, bar_format=_BAR)

    def step(self, index: int, x: object, there: object) -> None:
        """One step of a batch is done."""
        self._bar.update(min(self._share, self._bar.total - self._bar.n))

    def __enter__(self) -> _Progress:
        """The bar is shown already."""
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        """A finished bar is full."""
        if kind is None:
            self._bar.update(self._bar.total - self._bar.n)
        self._bar.close()


_BAR = "{l_bar}{bar}| {n:.0f}/{total} [{elapsed}<{remaining}, {rate_fmt}]"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sample.py",
        description="Draws samples from a trained model.",
        epilog=f"samplers:\n{registry.describe()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.error = raise_usage
    add = parser.add_argument
    add("--workdir", metavar="DIR", help="the folder of a run of train.py")
    add("--num", type=_positive, default=16, metavar="N", help="how many (default: 16)")
    add("--sampler", metavar="NAME", help="a solver, see below (default: the recipe's)")
    add("--steps", type=_positive, metavar="S", help="intervals of the time grid")
    add("--eta", type=float, metavar="E", help="0 deterministic, 1 as noisy as ddpm")
    add("--spacing", metavar="NAME", help=f"of the grid's times: {', '.join(SPACINGS)}")
    add("--guidance", type=float, metavar="W", help="classifier-free guidance scale; 1: none")
    add("--label", nargs="+", metavar="L", help="class numbers or names, in turn (default: all)")
    add("--seed", type=int, metavar="K", help="sample i depends on (seed, i) only")
    add("--batch-size", type=_positive, metavar="B", help="samples drawn at once, at most")
    add("--ema", metavar="NAME", help="which average of the weights; none: the weights themselves")
    add("--checkpoint", type=int, metavar="STEP", help="which checkpoint (default: the newest)")
    add("--quiet", action="store_true", help="no progress, only warnings")
    add(
        "--out",
        default="samples.png",
        metavar="PATH",
        help=".png a grid, .gif the denoising, .npz arrays arr_0 (and labels arr_1), "
        "a folder: one PNG a sample (default: samples.png)",
    )
    return parser


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"should be a whole number >= 1, got {text!r}")
    return int(text)
