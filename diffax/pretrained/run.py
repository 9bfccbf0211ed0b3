"""The common course of all pipelines: condition, noise, sampling loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from diffax.denoiser import Network
from diffax.guidance import ClassifierFree
from diffax.pretrained.decoding import decode
from diffax.pretrained.masking import KnownPart, MaskedDenoiser, MaskedSolver
from diffax.pretrained.options import Options
from diffax.pretrained.pipeline import Pipeline
from diffax.pretrained.schedulers import Setup
from diffax.pretrained.text import encode_prompts
from diffax.sampling import sample
from diffax.solvers import initial_noise, sample_keys

# One program for all prompts, seeds and scales: everything but shapes and structure is traced.
_sample = jax.jit(sample, static_argnames="on_step")


def prompt_list(prompt: str | Sequence[str] | None, num: int) -> list[str]:
    """The prompts, each `num` times. None stands for no text at all.

    Raises:
        ValueError: no prompt, or an empty one.
    """
    if prompt is None:
        return [""] * num
    prompts = [prompt] if isinstance(prompt, str) else list(prompt)
    if not prompts or not all(isinstance(p, str) and p.strip() for p in prompts):
        raise ValueError(
            f"expected one prompt or more, none of them empty, got {prompt!r}; "
            "give None for pictures without a text"
        )
    return [p for p in prompts for _ in range(num)]


def picture_size(pipe: Pipeline, options: Options) -> tuple[int, int]:
    """Height and width in pixels.

    Raises:
        ValueError: not multiples of the pixels a latent stands for.
    """
    size = (options.height or pipe.default_size, options.width or pipe.default_size)
    if any(n < pipe.factor or n % pipe.factor for n in size):
        near = tuple(max(1, round(n / pipe.factor)) * pipe.factor for n in size)
        raise ValueError(
            f"height and width must be positive multiples of {pipe.factor}, got "
            f"{size[0]}x{size[1]}; the nearest are {near[0]}x{near[1]}"
        )
    return size


def keys_and_noise(
    pipe: Pipeline, options: Options, batch: int, size: tuple[int, int]
) -> tuple[jax.Array, jax.Array]:
    """A random key a picture, and its standard normal latents `[B, h, w, C]`."""
    if isinstance(options.seed, (int, np.integer)):
        keys = sample_keys(int(options.seed), batch)
    else:
        if len(options.seed) != batch:
            raise ValueError(
                f"expected one seed, or one for each of {batch} pictures, got {len(options.seed)}"
            )
        keys = jnp.concatenate([sample_keys(int(seed), 1) for seed in options.seed])
    channels = pipe.unet.module.out_channels
    shape = (size[0] // pipe.factor, size[1] // pipe.factor, channels)
    if options.noise is None:
        return keys, initial_noise(keys, shape)
    noise = jnp.asarray(options.noise, jnp.float32)
    if noise.shape != (batch, *shape):
        raise ValueError(f"expected noise of shape {(batch, *shape)}, got {noise.shape}")
    return keys, noise


def text_conditions(
    pipe: Pipeline, prompts: list[str], options: Options, size: tuple[int, int]
) -> tuple[dict, dict]:
    """Conditions of the prompts and of their negatives."""
    batch = len(prompts)
    negative = options.negative
    if negative is None or isinstance(negative, str):
        negatives = [negative or ""] * batch
    elif len(negative) * options.num == batch:
        negatives = [n for n in negative for _ in range(options.num)]
    else:
        raise ValueError(
            f"expected one negative prompt, or one for each of {batch // options.num} prompts, "
            f"got {len(negative)}"
        )
    # Together, so that both have as many chunks as the longest text.
    both = encode_prompts(
        pipe.text_encoders,
        pipe.tokenizers,
        prompts + negatives,
        xl=pipe.xl,
        clip_skip=options.clip_skip,
    )
    asked, null = ({k: v[part] for k, v in both.items()} for part in (np.s_[:batch], np.s_[batch:]))
    if pipe.xl:
        if negative is None and pipe.settings.get("force_zeros_for_empty_prompt", False):
            null = jax.tree.map(jnp.zeros_like, null)
        for condition, score in (
            (asked, options.aesthetic_score),
            (null, options.negative_aesthetic_score),
        ):
            condition["size_ids"] = _size_ids(pipe, options, size, score, batch)
    return asked, null


def _size_ids(pipe: Pipeline, options: Options, size, score: float, batch: int) -> jax.Array:
    ids = [*(options.original_size or size), *options.crop]
    if pipe.settings.get("requires_aesthetics_score", False):
        ids += [score]
    else:
        ids += [*(options.target_size or size)]
    return jnp.tile(jnp.asarray(ids, jnp.float32), (batch, 1))


def run(
    pipe: Pipeline,
    prompts: list[str],
    options: Options,
    size: tuple[int, int],
    setup: Setup,
    start: Callable[[jax.Array], jax.Array] | None = None,
    *,
    channels: jax.Array | None = None,
    keep: Callable[[jax.Array], KnownPart] | None = None,
) -> jax.Array:
    """Samples latents.

    Args:
        pipe: the model.
        prompts: one for each picture.
        options: see `Options`.
        size: height and width in pixels.
        setup: grid, solver and parameterization; see `plan`.
        start: from the noise to the state at the grid's first point; None: pure noise.
        channels: further input channels of inpainting models, `[B, h, w, 5]`.
        keep: from the noise to the part of the picture that is kept; None: nothing.

    Returns:
        Latents `[B, h, w, C]` float32.
    """
    keys, noise = keys_and_noise(pipe, options, len(prompts), size)
    asked, null = text_conditions(pipe, prompts, options, size)
    if channels is not None:
        asked, null = (condition | {"channels": channels} for condition in (asked, null))
    x = setup.start_scale * noise if start is None else start(noise)
    part = None if keep is None else keep(noise)
    x = x.astype(jnp.float32)
    x, keys, asked, null, part = spread(pipe, (x, keys, asked, null, part))
    network = Network(pipe.unet.module.apply, pipe.unet.params, asked, setup.parameterization)
    denoiser, solver = setup.limits(_guided(network, null, options)), setup.solver
    if part is not None:
        denoiser, solver = (
            MaskedDenoiser(denoiser, part, setup.grid.t[0]),
            MaskedSolver(solver, part),
        )
    return _sample(denoiser, solver, setup.grid, x, keys, on_step=options.on_step)


def _guided(network: Network, null, options: Options) -> Network | ClassifierFree:
    if options.guidance is None:
        return network
    rescale = options.guidance_rescale
    return ClassifierFree(
        network,
        null,
        jnp.float32(options.guidance),
        None if rescale == 0 else jnp.float32(rescale),
    )


def textless_run(
    pipe: Pipeline,
    options: Options,
    noise: jax.Array,
    keys: jax.Array,
    condition: Any,
    setup: Setup,
    null: Any = None,
) -> jax.Array:
    """Samples without a text, on classes where there are any; guided where `null` is given."""
    noise, keys, condition, null = spread(pipe, (noise, keys, condition, null))
    network = Network(pipe.unet.module.apply, pipe.unet.params, condition, setup.parameterization)
    x = setup.start_scale.astype(jnp.float32) * noise
    denoiser = setup.limits(network if null is None else _guided(network, null, options))
    return _sample(denoiser, setup.solver, setup.grid, x, keys, on_step=options.on_step)


def spread(pipe: Pipeline, batch):
    """Arrays `[B, ...]` split over the pipeline's devices, where it has some."""
    if pipe.mesh is None:
        return batch
    axis = pipe.mesh.axis_names[0]
    count = pipe.mesh.shape[axis]
    size = jax.tree.leaves(batch)[0].shape[0]
    if size % count:
        raise ValueError(f"a batch of {size} pictures cannot be split over {count} devices")
    return jax.device_put(batch, NamedSharding(pipe.mesh, PartitionSpec(axis)))


def finish(pipe: Pipeline, latents: jax.Array, options: Options) -> jax.Array:
    """Pictures in [-1, 1], or the latents where those are asked for."""
    if not options.decode:
        return latents
    if pipe.vae is None:
        return jnp.clip(latents, -1.0, 1.0)
    return decode(pipe.vae, latents, options.tile)
