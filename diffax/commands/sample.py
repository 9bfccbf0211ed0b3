"""The command line of sample.py: a run of train.py, or a published model."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path

from diffax import plotting
from diffax.commands.errors import UsageError, one_line_errors, raise_usage
from diffax.sampling import SPACINGS
from diffax.solvers import registry

# Flags that have a meaning for only one of the two kinds of model.
_RUN_ONLY = ("checkpoint", "ema", "batch_size")
_PRETRAINED_ONLY = ("prompt", "negative", "height", "width", "karras", "tile", "variant", "dtype")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs sample.py.

    Args:
        arguments: of the command line; None: the process's own.

    Returns:
        The exit status: 0 done; 2 bad input, with one line on stderr.
    """
    return one_line_errors(lambda: _sample(_parser().parse_args(arguments)))


def _sample(flags: argparse.Namespace) -> int:
    _check(flags)
    plotting.check_output(flags.out)
    if flags.workdir is not None:
        from diffax.commands.sample_run import sample_run

        return sample_run(flags)
    from diffax.commands.sample_pretrained import sample_pretrained

    return sample_pretrained(flags)


def _check(flags: argparse.Namespace) -> None:
    """Refuses what cannot be meant, before anything is loaded."""
    if (flags.workdir is None) == (flags.pretrained is None):
        raise UsageError(
            "expected one of --workdir DIR (a run of train.py) and --pretrained DIR (a published "
            "model); --workdir DIR is missing"
            if flags.workdir is None
            else "expected --workdir or --pretrained, got both"
        )
    foreign, kind = (
        (_PRETRAINED_ONLY, "--pretrained") if flags.pretrained is None else (_RUN_ONLY, "--workdir")
    )
    for name in foreign:
        if getattr(flags, name) not in (None, False):
            raise UsageError(f"--{name.replace('_', '-')} has a meaning only with {kind}")
    if flags.sampler is not None:
        registry.lookup(flags.sampler)
        if flags.sampler == "ddim_inversion":
            raise UsageError(
                "--sampler ddim_inversion goes from a picture to noise and makes no samples; "
                "see diffax.sampling.invert and diffax.sampling.interpolate"
            )
    if flags.mask is not None and flags.init_image is None:
        raise UsageError("--mask needs --init-image, the picture it belongs to")
    if flags.strength is not None:
        if flags.init_image is None:
            raise UsageError("--strength needs --init-image")
        if not 0 < flags.strength <= 1:
            raise UsageError(f"--strength should be in (0, 1], got {flags.strength:g}")
    if flags.eta is not None and not (flags.eta >= 0 and math.isfinite(flags.eta)):
        raise UsageError(f"--eta should be at least 0, got {flags.eta:g}")
    if flags.seed is not None and not 0 <= flags.seed < 2**32:
        raise UsageError(f"--seed should be 0 to 4294967295, got {flags.seed}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sample.py",
        description="Draws samples from a model that train.py trained, or from a published one.",
        epilog=f"samplers:\n{registry.describe()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.error = raise_usage
    add = parser.add_argument
    add("--workdir", metavar="DIR", help="the folder of a run of train.py")
    add(
        "--pretrained",
        metavar="DIR",
        type=Path,
        help="a published model: a diffusers folder, or a .safetensors or .ckpt file",
    )
    add("--num", type=_positive, metavar="N", help="how many (default: 16; with --pretrained 1)")
    add("--sampler", metavar="NAME", help="a solver, see below (default: the model's own)")
    add("--steps", type=_positive, metavar="S", help="intervals of the time grid")
    add("--eta", type=float, metavar="E", help="0 deterministic, 1 as noisy as ddpm")
    add("--spacing", metavar="NAME", help=f"of the grid's times: {', '.join(SPACINGS)}")
    add("--guidance", type=float, metavar="W", help="classifier-free guidance scale; 1: none")
    add("--label", nargs="+", metavar="L", help="class numbers or names, in turn (default: all)")
    add("--seed", type=int, metavar="K", help="sample i depends on (seed, i) only")
    add("--init-image", metavar="F", help="start from this picture instead of noise")
    add("--strength", type=float, metavar="R", help="how much of it is made anew, in (0, 1]")
    add("--mask", metavar="F", help="make only the white part of --init-image anew")
    add(
        "--out",
        default="samples.png",
        metavar="PATH",
        help=".png a grid, .gif the denoising, .npz arrays arr_0 (and labels arr_1), "
        "a folder: one PNG a sample (default: samples.png)",
    )
    add("--quiet", action="store_true", help="no progress, only warnings")

    add = parser.add_argument_group("runs of train.py").add_argument
    add("--batch-size", type=_positive, metavar="B", help="samples drawn at once, at most")
    add("--ema", metavar="NAME", help="which average of the weights; none: the weights themselves")
    add("--checkpoint", type=int, metavar="STEP", help="which checkpoint (default: the newest)")

    add = parser.add_argument_group("published models").add_argument
    add("--prompt", metavar="TEXT", help="what to show; (word:1.3) weights a part")
    add("--negative", metavar="TEXT", help="what not to show")
    add("--height", type=_positive, metavar="H", help="in pixels (default: the model's)")
    add("--width", type=_positive, metavar="W", help="in pixels (default: the model's)")
    add("--karras", action="store_true", help="the noise levels of Karras et al. 2022")
    add("--tile", type=_positive, metavar="P", help="decode in tiles of so many pixels")
    add("--variant", metavar="NAME", help="of a folder's files, such as fp16")
    add("--dtype", choices=("float32", "bfloat16"), help="of the computation (default: float32)")
    return parser


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"should be a whole number >= 1, got {text!r}")
    return int(text)
