"""`diffax sample`, and sample.py: a run of train.py or a published model, with the same flags."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from diffax import plotting
from diffax.commands import addons
from diffax.commands.errors import UsageError, one_line_errors, raise_usage
from diffax.commands.flags import (
    add_asked,
    add_model,
    add_published,
    add_run,
    add_sampler,
    adder,
    positive,
    solver_options,
)
from diffax.commands.opening import Opened, opened
from diffax.commands.program import program
from diffax.commands.progress import Progress
from diffax.commands.reading import read_image, read_mask, read_spectrogram
from diffax.data.time_series import read_series
from diffax.generation import Request, generate
from diffax.generation.edit import instructed
from diffax.generation.tasks import canvas, enlarge
from diffax.solvers import registry

_EDITING = ("strength", "mask", "outpaint", "variations")


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
    plotting.check_output(flags.out, images=None)
    source = addons.extended(opened(flags), flags)
    model = source.model
    plotting.check_output(flags.out, images=model.makes_images, codec=model.codec)
    request = _request(flags, source)
    if flags.refiner is not None:
        return _refined(flags, source, request)
    stages = [opened(flags, workdir=path) for path in flags.then or []]
    began = time.perf_counter()
    with _progress(flags, source, request) as progress:
        samples = generate(model, request, on_step=progress.step)
    made = [samples.images] if stages else []
    for stage in stages:  # each enlarges what the one before made
        told = {"seed": request.seed, "noise_level": flags.noise_level}
        samples, source = enlarge(stage.model, made[-1], **told), stage
        made.append(samples.images)
    if flags.stages:
        samples = dataclasses.replace(samples, data=plotting.side_by_side(made))
    return _leave(flags, source, samples, time.perf_counter() - began)


def _refined(flags: argparse.Namespace, source: Opened, request: Request) -> int:
    """The base model until `--refine-at`, then the refiner."""
    refiner = opened(flags, path=flags.refiner)
    at = 0.8 if flags.refine_at is None else flags.refine_at
    began = time.perf_counter()
    with _progress(flags, source, request) as progress:
        begun = generate(source.model, request, stop_at=at, on_step=progress.step)
        told = {name: getattr(request, name) for name in ("prompt", "negative", "seed", "steps")}
        samples = generate(
            refiner.model, latents=begun.x, start_at=at, num=request.num,
            on_step=progress.step, **told,
        )  # fmt: skip
    return _leave(flags, source, samples, time.perf_counter() - began)


def _request(flags: argparse.Namespace, source: Opened) -> Request:
    """The command line as a request."""
    num = flags.num or source.num
    fields: dict[str, Any] = {
        name: getattr(flags, name)
        for name in (
            "negative", "guidance", "image_guidance", "guidance_rescale", "sampler", "steps",
            "spacing", "karras", "seed", "height", "width", "tile", "batch_size", "clip_skip",
            "strength", "prefix", "suffix",
        )
        if getattr(flags, name) not in (None, False)
    }  # fmt: skip
    if "prompt" in source.model.conditioner.asks:
        if flags.prompt is None:
            raise UsageError("--prompt TEXT is missing: what the samples should show")
        fields |= {"prompt": flags.prompt, "num": num}
    elif flags.prompt is not None:
        raise UsageError("--prompt needs a model that reads texts; this one does not")
    if flags.low_res is not None:
        fields |= _small(flags, source)
    if flags.spectrogram is not None:
        if "spectrogram" not in source.model.conditioner.asks:
            raise UsageError("--spectrogram needs a vocoder, such as a run of tones:vocoder")
        fields["spectrogram"] = read_spectrogram(
            flags.spectrogram, source.model.conditioner, source.model.shape[0]
        )
    if flags.label is not None:
        if "labels" not in source.model.conditioner.asks:
            raise UsageError("--label needs a class-conditional model; this one has no classes")
        # In turn over the samples, so that any number of labels goes with any number of samples.
        numbers = [str(label) for label in np.resize(flags.label, num)]
        fields |= {"labels": numbers, "num": 1}
    fields.setdefault("num", num)
    fields["trajectory"] = plotting.needs_trajectory(flags.out)
    fields["options"] = solver_options(flags)
    if flags.depth is not None:
        fields["depth"] = read_image(flags.depth, channels=1)[..., 0]
    edit = _edit(flags, source)
    return Request.of(**fields | addons.fields(source, flags, edit) | edit)


def _small(flags: argparse.Namespace, source: Opened) -> dict[str, Any]:
    """The image to be enlarged, and the size that it gets."""
    conditioner = source.model.conditioner
    if "low_res" not in conditioner.asks:
        raise UsageError("--low-res needs a model that enlarges images; this one does not")
    model = source.model
    image = read_image(flags.low_res, channels=3 if model.factor > 1 else model.shape[-1])
    height, width = (side * conditioner.factor for side in image.shape[:2])
    told = {"noise_level": flags.noise_level, "height": height, "width": width}
    return {"low_res": image, "num": flags.num or 1, **told}


def _edit(flags: argparse.Namespace, source: Opened) -> dict[str, Any]:
    """Image, mask and strength; or a series and its gaps."""
    if flags.series is not None:
        if len(source.model.shape) != 2:
            raise UsageError("--series needs a model of time series or sound; this one makes none")
        series = read_series(Path(flags.series), gaps=True)
        if not np.isnan(series).any():
            raise UsageError(f"--series {flags.series}: nothing is missing in it; leave gaps empty")
        return {"image": series, "mask": np.isnan(series)}
    if flags.init_image is None:
        return {}
    model = source.model
    if len(model.shape) != 3:
        raise UsageError("--init-image needs a model of images; this one makes vectors")
    size = None
    if flags.height is not None or flags.width is not None:
        size = (flags.height or flags.width, flags.width or flags.height)
    elif source.fixed_size:
        size = model.shape[:2]
    channels = 3 if model.factor > 1 else model.shape[-1]
    image = read_image(flags.init_image, channels=channels, size=size)
    fields: dict[str, Any] = {"image": image, "height": None, "width": None}
    if flags.mask is not None:
        fields["mask"] = read_mask(flags.mask, flags.init_image, size=size)[..., 0]
    elif flags.outpaint is not None:
        if source.fixed_size:
            raise UsageError("--outpaint needs a model of images of any size; this one has one")
        fields["image"], fields["mask"] = canvas(image, tuple(flags.outpaint))
    elif flags.strength is None and not instructed(model):
        fields["strength"] = 0.6 if flags.variations else source.strength
    return fields


def _progress(flags: argparse.Namespace, source: Opened, request: Request) -> Progress:
    settings = source.model.settings
    num = (request.num or settings.num) * request.count
    batch = min(num, request.batch_size or settings.batch_size or num)
    return Progress(num, batch, request.steps or settings.steps, flags.quiet)


def _leave(flags: argparse.Namespace, source: Opened, samples: Any, seconds: float) -> int:
    """Writes the samples, and says so."""
    plotting.export(
        flags.out,
        np.asarray(samples.data),
        labels=samples.label,
        trajectory=samples.decoded_states(),
        times=samples.times,
        captions=samples.captions,
        metadata={"diffax": json.dumps(_recipe(flags, source))},
        codec=samples.codec,
    )
    if not flags.quiet:
        num = len(samples)
        print(
            f"{num:,} samples of {source.name} in {seconds:.1f} s, {num / seconds:,.1f} a second, "
            "compilation included"
        )
        print(f"wrote {flags.out}")
    return 0


def _recipe(flags: argparse.Namespace, source: Opened) -> dict[str, Any]:
    """What made an image, kept inside it: whatever the command line said."""
    left_out = {"workdir", "pretrained", "out", "quiet", "trust"}
    said = {
        name.removeprefix("option_"): value if isinstance(value, int | float | list) else str(value)
        for name, value in vars(flags).items()
        if name not in left_out and value not in (None, False)
    }
    return {"model": source.name, **said}


def _check(flags: argparse.Namespace) -> None:
    """Refuses what cannot be meant, before anything is loaded."""
    if (flags.workdir is None) == (flags.pretrained is None):
        said = [
            f"--{name.replace('_', '-')}"
            for name in ("prompt", "label", "init_image")
            if getattr(flags, name) is not None
        ]
        hint = f" ({', '.join(said)} needs one of them)" if said else ""
        raise UsageError(
            "expected one of --workdir DIR (a run of train.py) and --pretrained PATH (a published "
            f"model), got neither{hint}"
            if flags.workdir is None
            else "expected --workdir or --pretrained, got both"
        )
    if flags.sampler is not None:
        registry.resolved(flags.sampler)
    for name in _EDITING:
        if getattr(flags, name) not in (None, False) and flags.init_image is None:
            raise UsageError(f"--{name} needs --init-image, the image it belongs to")
    addons.check_flags(flags)
    if flags.series is not None and flags.init_image is not None:
        raise UsageError("give --series or --init-image, not both")
    if flags.mask is not None and flags.outpaint is not None:
        raise UsageError("give --mask or --outpaint, not both")
    if flags.noise_level is not None and flags.low_res is None and not flags.then:
        raise UsageError("--noise-level needs --low-res or --then: images to be enlarged")
    if flags.then and plotting.needs_trajectory(flags.out):
        raise UsageError("--out of --then is an image, a folder or an .npz, no .gif")
    if flags.stages and not flags.then:
        raise UsageError("--stages needs --then, the stages to be shown")
    if flags.then and flags.refiner is not None:
        raise UsageError("give --then or --refiner, not both")
    if flags.refine_at is not None and flags.refiner is None:
        raise UsageError("--refine-at needs --refiner, the model that ends the run")
    if flags.refiner is not None and flags.pretrained is None:
        raise UsageError("--refiner needs --pretrained, the base model")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=program("sample"),
        description="Draws samples from a model that train.py trained, or from a published one.",
        epilog=f"samplers:\n{registry.describe()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.error = raise_usage

    add_model(parser)
    add_asked(parser)
    add = adder(parser)
    add("--num", type=positive, metavar="N", help="how many (default: 16; with --pretrained 1)")
    add(
        "--out",
        default="samples.png",
        metavar="PATH",
        help=".png a grid, .gif the denoising, .npz arrays arr_0 (and labels arr_1), "
        "a folder: one file a sample, .wav of sound, .txt of texts (default: samples.png)",
    )
    add("--batch-size", type=positive, metavar="B", help="samples drawn at once, at most")
    parser.add_argument("--quiet", action="store_true", help="no progress, only warnings")

    add_sampler(parser)

    add("--spectrogram", metavar="F", help="a sound that a vocoder makes anew (.wav, .flac)")
    add("--series", metavar="F", help="a series (.npy, .csv) whose gaps (nan, empty) are filled")

    add = adder(parser.add_argument_group("larger images"))
    add("--low-res", metavar="F", help="the image that an upscaling run makes larger")
    parser.add_argument(
        "--then",
        action="append",
        metavar="DIR",
        help="a run that makes the samples larger; once for each stage",
    )
    parser.add_argument("--stages", action="store_true", help="show every stage beside the next")
    add("--noise-level", type=float, metavar="S", help="noise on small images, which hides faults")

    add = adder(parser.add_argument_group("editing"))
    add("--init-image", metavar="F", help="start from this image instead of noise")
    add("--strength", type=float, metavar="R", help="how much of it is made anew, in (0, 1]")
    add("--mask", metavar="F", help="make only the white part of --init-image anew")
    add(
        "--outpaint",
        nargs=4,
        type=int,
        metavar=("TOP", "BOTTOM", "LEFT", "RIGHT"),
        help="pixels to add to --init-image on each side",
    )
    add(
        "--prefix", metavar="TEXT", help="of models of texts: how every sample begins, kept exactly"
    )
    add("--suffix", metavar="TEXT", help="likewise how it ends; with both, the middle is made")
    parser.add_argument("--variations", action="store_true", help="--num images like --init-image")
    add("--height", type=positive, metavar="H", help="in pixels (default: the model's)")
    add("--width", type=positive, metavar="W", help="in pixels (default: the model's)")

    add("--depth", metavar="F", help="an image of depths, the brighter the nearer, to be followed")

    addons.add_flags(parser)
    add = adder(add_run(parser))
    add("--ema", metavar="NAME", help="which average of the weights; none: the weights themselves")

    add = adder(add_published(parser))
    add("--refiner", type=Path, metavar="PATH", help="XL's refiner, which ends the run")
    add("--refine-at", type=float, metavar="R", help="of the noise gone (0.8)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
