"""sample.py --pretrained: pictures of a published model."""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

import jax.numpy as jnp
import numpy as np

from diffax import generation, plotting, pretrained
from diffax.commands.errors import UsageError
from diffax.commands.progress import Progress
from diffax.commands.reading import read_mask, read_picture
from diffax.pretrained.conditioning import PublishedClasses


def sample_pretrained(flags: argparse.Namespace) -> int:
    """Draws, writes, and says so."""
    if plotting.needs_trajectory(flags.out):
        raise UsageError("a .gif of the denoising needs --workdir; published models give .png")
    dtype = jnp.dtype(flags.dtype or "float32")
    pipe = pretrained.load_pipeline(flags.pretrained, dtype=dtype, variant=flags.variant)
    options = _options(flags)
    began = time.perf_counter()
    num = options.get("num", 1)
    steps = options.get("steps", pipe.settings.steps)
    with Progress(num, num, steps, flags.quiet) as progress:
        images = np.asarray(_draw(pipe, flags, options | {"on_step": progress.step}))
    seconds = time.perf_counter() - began
    recipe = {"model": flags.pretrained.name, "prompt": flags.prompt, "label": flags.label}
    recipe |= options
    recipe |= {k: getattr(flags, k) for k in ("init_image", "strength", "mask")}
    recipe = {key: value for key, value in recipe.items() if value is not None}
    plotting.export(flags.out, images, metadata={"diffax": json.dumps(recipe)})
    if not flags.quiet:
        count, height, width, _ = images.shape
        print(
            f"{count} pictures of {width}x{height} in {seconds:.1f} s, "
            f"{seconds / count:.1f} s each, compilation included"
        )
        print(f"wrote {flags.out}")
    return 0


def _options(flags: argparse.Namespace) -> dict[str, Any]:
    """The command line as keyword arguments of the pipelines; what is not said is left out."""
    names = (
        "negative",
        "num",
        "steps",
        "sampler",
        "spacing",
        "karras",
        "eta",
        "guidance",
        "seed",
        "height",
        "width",
        "tile",
    )
    given = {name: getattr(flags, name) for name in names}
    return {name: value for name, value in given.items() if value not in (None, False)}


def _draw(pipe: generation.Model, flags: argparse.Namespace, options: dict[str, Any]) -> Any:
    asks = pipe.conditioner.asks
    if "prompt" not in asks:
        if flags.prompt is not None:
            raise UsageError("--prompt needs a model with a text encoder; this one has none")
        if flags.init_image is not None:
            raise UsageError("--init-image needs a text-to-image model; this one has no text")
        if flags.label is None:
            if isinstance(pipe.conditioner, PublishedClasses):
                last = pipe.conditioner.null - 1
                raise UsageError(f"--label N is missing: which class to show, 0 to {last}")
            return generation.unconditional(pipe, **options)
        if not all(label.isdigit() for label in flags.label):
            raise UsageError(f"--label should be class numbers, got {' '.join(flags.label)}")
        labels = np.resize([int(label) for label in flags.label], flags.num or len(flags.label))
        # The labels are as many as the pictures already.
        options |= {"num": 1}
        if not isinstance(pipe.conditioner, PublishedClasses):
            return generation.unconditional(pipe, labels=labels.tolist(), **options)
        return generation.class_to_image(pipe, labels.tolist(), **options)
    if flags.prompt is None:
        raise UsageError("--prompt TEXT is missing: what the picture should show")
    if flags.label is not None:
        raise UsageError("--label needs a class-conditional model; this one reads --prompt")
    if flags.init_image is None:
        return generation.text_to_image(pipe, flags.prompt, **options)
    size = None
    if flags.height is not None or flags.width is not None:
        height, width = options.pop("height", None), options.pop("width", None)
        size = (height or width, width or height)
    image = read_picture(flags.init_image, size=size)
    strength = {} if flags.strength is None else {"strength": flags.strength}
    if flags.mask is None:
        return generation.image_to_image(pipe, flags.prompt, image, **strength, **options)
    mask = read_mask(flags.mask, flags.init_image, size=size)[..., 0]
    return generation.inpaint(pipe, flags.prompt, image, mask, **strength, **options)
