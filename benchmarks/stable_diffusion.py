"""Speed and memory of a full-size Stable Diffusion with random weights, beside diffusers.

    python -m benchmarks.stable_diffusion --family sd1 --size 512 --steps 2 --reference

Each library runs in a process of its own, so that peak memory is its own. Weights are random (none
are downloaded), which changes neither speed nor memory. Two runs are timed: the first compiles.
Figures go to standard output, one JSON object a library.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import subprocess
import sys
import time


def main() -> None:
    """Parses the command line and runs each library in a child process."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--family", choices=("sd1", "sd2", "sdxl"), default="sd1")
    parser.add_argument("--size", type=int, default=512, help="height and width in pixels")
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--tile", type=int, default=None, help="decode in tiles of so many pixels")
    parser.add_argument("--reference", action="store_true", help="run diffusers too")
    parser.add_argument("--only", choices=("diffax", "diffusers"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.only:
        measure = run_diffax if arguments.only == "diffax" else run_diffusers
        print(json.dumps(measure(arguments)))
        return
    for library in ("diffax", "diffusers") if arguments.reference else ("diffax",):
        command = [
            sys.executable,
            "-m",
            "benchmarks.stable_diffusion",
            *sys.argv[1:],
            "--only",
            library,
        ]
        subprocess.run(command, check=True)


def run_diffax(arguments) -> dict:
    """Times `text_to_image` and its parts."""
    import jax
    import jax.numpy as jnp

    from benchmarks.random_pipeline import PROMPT, random_components
    from diffax.codecs import Latent
    from diffax.generation import text_to_image
    from diffax.pretrained import model_of

    model = model_of(random_components(arguments.family, arguments.dtype))
    codec = Latent(model.codec.module, model.codec.params, tile=arguments.tile)
    options = dict(
        steps=arguments.steps,
        num=arguments.batch,
        height=arguments.size,
        width=arguments.size,
        sampler="ddim",
    )

    def latents(seed):
        return text_to_image(model, PROMPT, seed=seed, decode=False, **options)

    def seconds(f, argument):
        began = time.perf_counter()
        out = jax.block_until_ready(f(argument))
        return time.perf_counter() - began, out

    first, _ = seconds(latents, 0)
    again, z = seconds(latents, 1)
    first_decode, _ = seconds(codec.decode, z)
    decoding, images = seconds(codec.decode, z)
    assert images.shape == (arguments.batch, arguments.size, arguments.size, 3)
    assert bool(jnp.isfinite(images).all()), "an image with NaN"
    return {
        "library": f"diffax on jax {jax.__version__}",
        "device": jax.devices()[0].device_kind,
        **report(arguments, first + first_decode, again, decoding),
    }


def run_diffusers(arguments) -> dict:
    """Times the reference's networks in the same loop: the pipeline without its tokenizer."""
    import diffusers
    import torch

    from benchmarks.reference_pipeline import Pipeline

    if arguments.family == "sdxl":
        raise SystemExit("the comparison is written for sd1 and sd2")
    pipeline = Pipeline(arguments.family, getattr(torch, arguments.dtype))
    if arguments.tile:
        pipeline.vae.enable_tiling()

    def seconds(f, *inputs):
        began = time.perf_counter()
        out = f(*inputs)
        pipeline.wait()
        return time.perf_counter() - began, out

    settings = (arguments.batch, arguments.size // 8, arguments.steps)
    first, _ = seconds(pipeline.latents, *settings)
    again, z = seconds(pipeline.latents, *settings)
    first_decode, _ = seconds(pipeline.decode, z)
    decoding, _ = seconds(pipeline.decode, z)
    cuda = pipeline.device.type == "cuda"
    return {
        "library": f"diffusers {diffusers.__version__} on torch {torch.__version__}",
        "device": torch.cuda.get_device_name() if cuda else platform.processor() or "cpu",
        **report(arguments, first + first_decode, again, decoding),
    }


def report(arguments, first: float, again: float, decoding: float) -> dict:
    """The figures of one library, from seconds."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "family": arguments.family,
        "size": arguments.size,
        "batch": arguments.batch,
        "steps": arguments.steps,
        "dtype": arguments.dtype,
        "first_run_s": round(first, 2),
        "seconds_per_step": round(again / arguments.steps, 3),
        "decode_s": round(decoding, 2),
        "images_per_s": round(arguments.batch / (again + decoding), 4),
        "peak_memory_gib": round(peak / 2**20, 2),
    }


if __name__ == "__main__":
    main()
