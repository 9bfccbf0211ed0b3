"""`diffax demo`: a page in the browser, served by this machine, to try a run or published model."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

from diffax.commands import page
from diffax.commands.errors import UsageError, one_line_errors, raise_usage
from diffax.commands.flags import add_model, add_published, add_run, adder
from diffax.commands.opening import opened
from diffax.commands.program import program


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs `diffax demo`, until Ctrl-C.

    Args:
        arguments: of the command line; None: the process's own.

    Returns:
        The exit status: 0 or 130 ended; 2 bad input, with one line on stderr.
    """
    return one_line_errors(lambda: _demo(_parser().parse_args(arguments)))


def _demo(flags: argparse.Namespace) -> int:
    if (flags.workdir is None) == (flags.pretrained is None):
        raise UsageError(
            "expected one of --workdir DIR (a run) and --pretrained PATH (a published model)"
        )
    if not 1 <= flags.port < 2**16:
        raise UsageError(f"--port should be from 1 to 65535, got {flags.port}")
    # Nothing is told to anybody: gradio counts its users unless it is asked not to.
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    if find_spec("gradio") is None:
        raise UsageError("the demo needs gradio: pip install 'diffax[demo]'")
    source = opened(flags)
    print(f"{source.name}: http://{flags.host}:{flags.port} (Ctrl-C ends it)", flush=True)
    try:
        page.serve(page.page_of(source), flags.host, flags.port)
    except OSError as error:
        raise UsageError(f"port {flags.port} is taken ({error}); give another --port") from None
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=program("demo"),
        description="Serves a page on this machine to try a run or a published model.",
        allow_abbrev=False,
    )
    parser.error = raise_usage
    add_model(parser)
    add: Any = adder(parser)
    add("--port", type=int, default=7860, metavar="N", help="of the page (default: 7860)")
    add(
        "--host", default="127.0.0.1", metavar="NAME", help="who may see it (default: this machine)"
    )
    add = adder(add_run(parser))
    add("--ema", metavar="NAME", help="which average of the weights; none: the weights themselves")
    add_published(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
