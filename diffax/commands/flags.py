"""Flags that the commands share: which model, what it is asked, how it is sampled, processes."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from diffax.commands.errors import UsageError
from diffax.sampling import SPACINGS
from diffax.solvers import registry
from diffax.training.distributed import Cluster


class Once(argparse.Action):
    """A flag that may be given once."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Refuses a second time."""
        if getattr(namespace, self.dest, None) != self.default:
            raise UsageError(f"{option_string} is given twice")
        setattr(namespace, self.dest, values)


def adder(group: Any) -> Callable[..., Any]:
    """`add_argument` of flags that may be given once."""
    return lambda *names, **rest: group.add_argument(*names, **{"action": Once, **rest})


def add_model(parser: argparse.ArgumentParser) -> None:
    """Which model."""
    add = adder(parser)
    add("--workdir", metavar="DIR", help="the folder of a run of train.py")
    add(
        "--pretrained",
        metavar="PATH",
        type=Path,
        help="a published model: a diffusers folder, a .safetensors or .ckpt file, or ORG/NAME on "
        "the hub",
    )


def add_asked(parser: argparse.ArgumentParser) -> None:
    """What it is asked."""
    add = adder(parser)
    add("--label", nargs="+", metavar="L", help="class numbers or names, in turn (default: all)")
    add("--prompt", metavar="TEXT", help="what to show; (word:1.3) weights a part")
    add("--negative", metavar="TEXT", help="what not to show")
    add("--guidance", type=float, metavar="W", help="classifier-free guidance scale; 1: none")
    add("--image-guidance", type=float, metavar="W", help="of the image (InstructPix2Pix)")
    add("--guidance-rescale", type=float, metavar="R", help="against over-exposure, 0 to 1")
    add("--seed", type=int, metavar="K", help="sample i depends on (seed, i) only")
    add("--tile", type=positive, metavar="P", help="decode latents in tiles of so many pixels")


def add_sampler(parser: argparse.ArgumentParser) -> None:
    """How it is sampled."""
    group = parser.add_argument_group("sampler")
    add = adder(group)
    add("--sampler", metavar="NAME", help="a solver (default: the model's own)")
    add("--steps", type=positive, metavar="S", help="intervals of the time grid")
    add("--spacing", metavar="NAME", help=f"of the grid's times: {', '.join(SPACINGS)}")
    group.add_argument("--karras", action="store_true", help="noise levels of Karras et al. 2022")
    for name, (kind, text) in registry.all_options().items():
        flag = f"--{name.replace('_', '-')}"
        add(flag, dest=f"option_{name}", type=_typed(kind), metavar="X", help=text)


def solver_options(flags: argparse.Namespace) -> dict[str, Any]:
    """The sampler's own options that were given."""
    given = {name: getattr(flags, f"option_{name}") for name in registry.all_options()}
    return {name: value for name, value in given.items() if value is not None}


def add_run(parser: argparse.ArgumentParser) -> Any:
    """What there is to say of a run; returns the group."""
    group = parser.add_argument_group("runs of train.py")
    add = adder(group)
    add("--checkpoint", type=int, metavar="STEP", help="which checkpoint (default: the newest)")
    group.add_argument(
        "--trust",
        action="store_true",
        help="run the recipe file that the run's folder names, for networks of its own",
    )
    return group


def add_published(parser: argparse.ArgumentParser) -> Any:
    """What there is to say of a published model; returns the group."""
    group = parser.add_argument_group("published models")
    add = adder(group)
    add("--tokenizer", metavar="PATH", help="of a single file: a tokenizer's folder or BPE file")
    add("--clip-skip", type=int, metavar="N", help="leave out the text encoder's last layers")
    add("--variant", metavar="NAME", help="of a folder's files, such as fp16")
    add("--dtype", choices=("float32", "bfloat16"), help="of the computation (default: float32)")
    return group


def add_processes(parser: argparse.ArgumentParser) -> None:
    """How several processes find each other."""
    add = parser.add_argument
    add("--coordinator", metavar="HOST:PORT", help="of process 0, where there are several")
    add("--num-processes", type=int, metavar="N")
    add("--process-id", type=int, metavar="I")
    add(
        "--heartbeat",
        type=int,
        default=100,
        metavar="SECONDS",
        help="silence after which another process counts as dead",
    )


def cluster_of(flags: argparse.Namespace) -> Cluster:
    """What `add_processes` was told.

    Raises:
        UsageError: a silence shorter than a second.
    """
    if flags.heartbeat < 1:
        raise UsageError(f"--heartbeat should be at least 1 second, got {flags.heartbeat}")
    return Cluster(flags.coordinator, flags.num_processes, flags.process_id, flags.heartbeat)


def grouped(arguments: Sequence[str]) -> dict[str, list[str]]:
    """`--section.field VALUE ...` as words by name, in order.

    Raises:
        UsageError: a word before the first name, or a name that is given twice.
    """
    groups: dict[str, list[str]] = {}
    current = None
    for argument in arguments:
        if argument.startswith("--"):
            given, _, value = argument[2:].partition("=")
            current = given.replace("-", "_")
            if current in groups:
                raise UsageError(f"--{given} is given twice")
            groups[current] = [value] if "=" in argument else []
        elif current is None:
            raise UsageError(f"unexpected argument {argument!r}; fields are set by --section.field")
        else:
            groups[current].append(argument)
    return groups


def positive(text: str) -> int:
    """A whole number from 1 on."""
    if not (text.isdigit() and 1 <= int(text) <= 10**9):
        raise argparse.ArgumentTypeError(f"should be a whole number from 1 to 10^9, got {text!r}")
    return int(text)


def _typed(kind: type) -> Any:
    """A converter of words to an option's type."""
    if kind is not bool:
        return kind

    def convert(text: str) -> bool:
        if text not in ("True", "False", "true", "false"):
            raise argparse.ArgumentTypeError(f"should be True or False, got {text!r}")
        return text.lower() == "true"

    return convert
