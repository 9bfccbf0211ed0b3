"""The command `diffax`: its subcommands, each with a `main(arguments)` of its own."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

from diffax.nearest import nearest

COMMANDS = {
    "train": "train a diffusion model, or continue where its folder has got to",
    "sample": "draw samples of a run or of a published model",
    "evaluate": "measure a run, a published model or samples",
    "report": "make one HTML page of a run: curves, samples, figures",
    "export": "write what a run learned of a published model, in the layout that others read",
    "demo": "serve a page in the browser to try a run or a published model",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs `diffax COMMAND ...`.

    Args:
        arguments: of the command line; None: the process's own.

    Returns:
        The exit status of the command; 2 for an unknown one, with one line on stderr.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    name = given.pop(0) if given else "--help"
    if name in ("--help", "-h", "help"):
        print(_help())
        return 0
    if name in ("--version", "-V", "version"):
        print(f"diffax {importlib.import_module('diffax').__version__}")
        return 0
    if name not in COMMANDS:
        hint = nearest(name, COMMANDS)
        print(f"error: diffax has no command {name!r}; {hint}", file=sys.stderr)
        return 2
    return importlib.import_module(f"diffax.commands.{name}").main(given)


def program(name: str) -> str:
    """What people typed to get to a command: `train.py` in a checkout, else `diffax train`."""
    script = f"{name}.py"
    return script if Path(sys.argv[0]).name == script else f"diffax {name}"


def _help() -> str:
    lines = [f"  {name:10} {text}" for name, text in COMMANDS.items()]
    return "\n".join(
        ["usage: diffax COMMAND ...", "", *lines, "", "diffax COMMAND --help says more of one."]
    )
