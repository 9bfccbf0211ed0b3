"""Speed and memory of a full-size Stable Diffusion with random weights, beside diffusers.

    python benchmarks/stable_diffusion.py --family sd1 --size 512 --steps 2 --reference

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

PROMPT = "a photograph of an astronaut riding a horse"


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
        command = [sys.executable, __file__, *sys.argv[1:], "--only", library]
        subprocess.run(command, check=True)


def run_diffax(arguments) -> dict:
    """Times `text_to_image` and its parts."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    from diffax.codecs import Latent
    from diffax.generation import text_to_image
    from diffax.models.bound import BoundModule
    from diffax.pretrained import Components, Tokenizer, model_of
    from diffax.pretrained.configs import module_from_config, parameter_shapes
    from diffax.pretrained.families import FAMILIES
    from diffax.pretrained.tokenizer import byte_letters, from_vocabulary

    dtype = jnp.dtype(arguments.dtype)
    draws = np.random.default_rng(0)

    def random_network(config) -> BoundModule:
        upcast = config.get("force_upcast", False)
        kind = jnp.dtype("float32") if upcast else dtype
        module = module_from_config(config, dtype=kind, param_dtype=kind)

        def value(leaf):
            scale = 1 / np.sqrt(max(1, np.prod(leaf.shape[:-1]))) if len(leaf.shape) > 1 else 0.1
            array = draws.standard_normal(leaf.shape, np.float32)
            array *= scale
            return jnp.asarray(array, leaf.dtype)

        return BoundModule(module, jax.tree.map(value, parameter_shapes(module)))

    configs = FAMILIES[arguments.family]
    texts = [configs[name] for name in configs if name.startswith("text_encoder")]
    letters = byte_letters()
    vocabulary = {t: i for i, t in enumerate([*letters, *(c + "</w>" for c in letters)])}
    tokenizer = Tokenizer(from_vocabulary(vocabulary, []))
    components = Components(
        unet=random_network(configs["unet"]),
        vae=random_network(configs["vae"]),
        text_encoders=tuple(random_network(c) for c in texts),
        tokenizers=(tokenizer,) * len(texts),
        scheduler=configs["scheduler"],
    )
    model = model_of(components)
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

    def decode(z):
        return codec.decode(z)

    def seconds(f, argument):
        began = time.perf_counter()
        out = jax.block_until_ready(f(argument))
        return time.perf_counter() - began, out

    first, _ = seconds(latents, 0)
    again, z = seconds(latents, 1)
    first_decode, _ = seconds(decode, z)
    decoding, images = seconds(decode, z)
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
    import transformers

    from diffax.pretrained.families import FAMILIES

    configs = FAMILIES[arguments.family]
    if arguments.family == "sdxl":
        raise SystemExit("the comparison is written for sd1 and sd2")
    cuda = torch.cuda.is_available()
    device, dtype = torch.device("cuda" if cuda else "cpu"), getattr(torch, arguments.dtype)
    build = {name: getattr(diffusers, configs[name]["_class_name"]) for name in ("unet", "vae")}
    unet, vae = (
        build[name].from_config(configs[name]).to(device, dtype).eval() for name in ("unet", "vae")
    )
    text_config = {k: v for k, v in configs["text_encoder"].items() if k != "architectures"}
    text = transformers.CLIPTextModel(transformers.CLIPTextConfig(**text_config))
    text = text.to(device, dtype).eval()
    if cuda:
        unet, vae.decode = torch.compile(unet), torch.compile(vae.decode)
    scheduler = diffusers.DDIMScheduler.from_config(configs["scheduler"])

    def wait():
        if cuda:
            torch.cuda.synchronize()

    @torch.no_grad()
    def latents():
        scheduler.set_timesteps(arguments.steps)
        ids = torch.full((2 * arguments.batch, 77), 7, device=device)
        context = text(ids).last_hidden_state
        side = arguments.size // 8
        x = torch.randn(arguments.batch, 4, side, side, device=device, dtype=dtype)
        for t in scheduler.timesteps:
            null, asked = unet(torch.cat([x, x]), t, context).sample.chunk(2)
            x = scheduler.step(null + 7.5 * (asked - null), t, x).prev_sample
        return x

    @torch.no_grad()
    def decode(z):
        if arguments.tile:
            vae.enable_tiling()
        return vae.decode(z / configs["vae"]["scaling_factor"]).sample

    def seconds(f, *inputs):
        began = time.perf_counter()
        out = f(*inputs)
        wait()
        return time.perf_counter() - began, out

    first, _ = seconds(latents)
    again, z = seconds(latents)
    first_decode, _ = seconds(decode, z)
    decoding, _ = seconds(decode, z)
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
