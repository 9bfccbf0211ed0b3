"""`diffax export`: what a run learned of a published model, in the layout that others read."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from diffax.commands.errors import one_line_errors, raise_usage
from diffax.commands.flags import adder
from diffax.commands.program import program
from diffax.training.exporting import export_run

_KINDS = {
    "lora": "a LoRA, in diffusers' layout",
    "embedding": "a token's vectors",
    "controlnet": "a ControlNet's folder",
    "pipeline": "a whole model, in diffusers' layout",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs `diffax export`.

    Args:
        arguments: of the command line; None: the process's own.

    Returns:
        The exit status: 0 done; 2 bad input, with one line on stderr.
    """
    return one_line_errors(lambda: _export(_parser().parse_args(arguments)))


def _export(flags: argparse.Namespace) -> int:
    kind = export_run(flags.workdir, flags.out, flags.ema, flags.checkpoint)
    print(f"wrote {flags.out}: {_KINDS[kind]}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=program("export"),
        description="Writes what a run learned of a published model in the common layout of its "
        "kind: LoRA, textual inversion, ControlNet, or the whole model.",
        allow_abbrev=False,
    )
    parser.error = raise_usage
    add = adder(parser)
    add("--workdir", required=True, metavar="RUN", help="the folder of a run of train.py")
    add(
        "--out",
        required=True,
        metavar="PATH",
        help="what is written: a file .safetensors for LoRA and textual inversion, a folder for a "
        "ControlNet and a whole model; nothing is overwritten",
    )
    add("--checkpoint", type=int, metavar="STEP", help="which checkpoint (default: the newest)")
    add("--ema", metavar="NAME", help="which average of the weights; none: the weights themselves")
    return parser


if __name__ == "__main__":
    sys.exit(main())
