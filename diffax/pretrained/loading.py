"""Published models from disk: a diffusers folder, or an original single file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
from jax.typing import DTypeLike

from diffax.generation import Model
from diffax.models import UNet2DConditionModel
from diffax.pretrained import remote
from diffax.pretrained.components import NOT_READ, PIPELINES, SCHEDULERS, Components
from diffax.pretrained.configs import read_json
from diffax.pretrained.network import load_network
from diffax.pretrained.published import components_of, model_of
from diffax.pretrained.single_file import load_single_file, network_options
from diffax.pretrained.tokenizer import load_tokenizer, read_settings
from diffax.pretrained.types import check_types, shown

# Flags of model_index.json that change what is computed.
FLAGS = ("force_zeros_for_empty_prompt", "requires_aesthetics_score")


def load_pipeline(path: str | Path, **options: Any) -> Model:
    """Loads a published model: a diffusers folder, or an original single file.

    Args:
        path: a folder with `model_index.json`, or a `.safetensors` or `.ckpt` file; or its name on
            the hub, `org/name[@revision]`, see `diffax.hub`.
        **options: see `load_components`: dtype, param_dtype, variant, tokenizer, configs, ema,
            query_chunk.

    Returns:
        The model, complete, as `diffax.generation.generate` takes it.

    Raises:
        FileNotFoundError: a file or folder is missing.
        ValueError: not supported, damaged, or parts that do not fit each other.

    Example:
        >>> model = load_pipeline("stable-diffusion-v1-5")  # doctest: +SKIP
        >>> images = text_to_image(model, "an astronaut riding a horse")  # doctest: +SKIP
    """
    components = load_components(path, **options)
    try:
        return model_of(components)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def save_pipeline(model: Model, folder: str | Path, *, dtype: DTypeLike | None = None) -> None:
    """Writes a published model, perhaps trained further, in the diffusers layout.

    Args:
        model: from `load_pipeline`.
        folder: made where it is missing; nothing in it is overwritten.
        dtype: of the weights in the files; None keeps their own.

    Raises:
        FileExistsError: the folder holds a model.
        ValueError: a model for which there is no such layout.
    """
    components_of(model).save(folder, dtype=dtype)


def load_components(
    path: str | Path,
    *,
    dtype: DTypeLike = jnp.float32,
    param_dtype: DTypeLike | None = None,
    variant: str | None = None,
    tokenizer: str | Path | None = None,
    configs: Mapping[str, Mapping[str, Any]] | None = None,
    ema: bool = False,
    query_chunk: int | None = None,
) -> Components:
    """Loads the networks, tokenizers and settings of a published model.

    Args:
        path: a folder with `model_index.json`, or a `.safetensors` or `.ckpt` file; or its name on
            the hub, `org/name[@revision]`, see `diffax.hub`.
        dtype: of the computation; float32, or bfloat16 on accelerators. Norms, softmax and the
            sampler stay float32, and so does an autoencoder that says `force_upcast`.
        param_dtype: of the parameters in memory; None: `dtype`.
        variant: of the folder's files, such as "fp16"; they are read as `param_dtype`.
        tokenizer: a tokenizer's folder, or CLIP's BPE file; a single file comes without one.
            Class-conditional models need none.
        configs: of a single file's components, by name, where it is none of the published
            families; as `diffax.pretrained.families.FAMILIES` has them.
        ema: of a single file, the U-Net's moving averages.
        query_chunk: attention takes so many queries at a time; None: by memory.

    Returns:
        The components, complete and fitting each other.

    Raises:
        FileNotFoundError: a file or folder is missing.
        ValueError: not supported, damaged, or parts that do not fit each other.
    """
    path = remote.pipeline(path, variant, PIPELINES)
    options = dict(dtype=dtype, param_dtype=dtype if param_dtype is None else param_dtype)
    if path.is_dir():
        components = _load_folder(path, options, variant, query_chunk)
    elif path.is_file():
        components = load_single_file(path, options, tokenizer, configs, ema, query_chunk)
    else:
        raise FileNotFoundError(
            f"{path}: expected a folder with model_index.json, or a .safetensors or .ckpt file"
        )
    _check_parts(components, path)
    return components


def _load_folder(
    folder: Path, options: Mapping[str, Any], variant: str | None, query_chunk: int | None
) -> Components:
    if not (folder / "model_index.json").is_file() and (folder / "config.json").is_file():
        raise ValueError(
            f"{folder}: one network, not a pipeline (no model_index.json); use load_network"
        )
    index = read_json(folder / "model_index.json")
    name = index.get("_class_name")
    if not isinstance(name, str) or name not in PIPELINES:
        raise ValueError(
            f"{folder}: pipeline {shown(name)} is not supported; known: {list(PIPELINES)}"
        )
    _check_index(index, folder / "model_index.json")
    present = [part for part in PIPELINES[name] if (index.get(part) or [None, None])[1] is not None]
    unread = [
        key
        for key, value in index.items()
        if isinstance(value, list)
        and value[1:] != [None]
        and key not in (*PIPELINES[name], *NOT_READ, *SCHEDULERS)
    ]
    needed = {"unet", "vae", "vqvae"}.intersection(PIPELINES[name])
    missing = sorted(needed.difference(present))
    if missing or unread:
        raise ValueError(
            f"{folder}: {name} with parts {sorted(index)}: "
            + (f"{unread} are not supported" if unread else f"it has no {missing[0]}")
        )

    def place(part: str) -> Path:
        # The oldest snapshots keep their only network beside model_index.json.
        beside = folder / part
        return folder if not beside.is_dir() and PIPELINES[name] == ("unet",) else beside

    scheduler = folder / "scheduler" / "scheduler_config.json"
    if not scheduler.is_file() and (folder / "scheduler_config.json").is_file():
        scheduler = folder / "scheduler_config.json"
    low_res = None
    if name == "StableDiffusionUpscalePipeline":
        low_res = read_json(folder / "low_res_scheduler" / "scheduler_config.json")
    files = {"model_index.json": index}
    networks, tokenizers = {}, []
    for part in present:
        if part.startswith("tokenizer"):
            tokenizers.append(load_tokenizer(folder / part))
            own = read_settings(folder / part)
            files |= {f"{part}/{file}": content for file, content in own.items()}
            continue
        config = read_json(place(part) / "config.json")
        files[f"{part}/config.json"] = config
        networks[part] = load_network(
            place(part), variant=variant, **network_options(part, config, options, query_chunk)
        )
    return Components(
        unet=networks["unet"],
        vae=networks.get("vae", networks.get("vqvae")),
        text_encoders=tuple(v for k, v in networks.items() if k.startswith("text_encoder")),
        tokenizers=tuple(tokenizers),
        scheduler=read_json(scheduler),
        low_res_scheduler=low_res,
        settings={k: v for k, v in index.items() if k[0] != "_" and not isinstance(v, list)},
        files=files,
    )


def _check_index(index: Mapping[str, Any], file: Path) -> None:
    """Parts are `[library, class]`, or `[null, null]`; all else is a flag."""
    parts = {part for names in PIPELINES.values() for part in names} | {*NOT_READ, *SCHEDULERS}
    pair = tuple[str | bool | None, str | None]
    flag = bool | int | float | str | None
    expected = {
        key: pair | None if key in parts else pair | flag for key in index if key[:1] != "_"
    }
    expected |= {key: bool for key in FLAGS}
    known = {key: value for key, value in index.items() if key in expected}
    check_types(str(file), known, expected)


def _check_parts(components: Components, path: Path) -> None:
    unet = components.unet.module
    if isinstance(unet, UNet2DConditionModel):
        width = sum(encoder.module.hidden_size for encoder in components.text_encoders)
        kind, source = "text", "text encoders give"
        if components.class_embedder is not None:
            width = components.class_embedder.module.embed_dim
            kind, source = "class", "class embedder gives"
        if width != unet.cross_attention_dim:
            raise ValueError(
                f"{path}: the U-Net wants a {kind} of width {unet.cross_attention_dim}, the "
                f"{source} {width}; parts of different models"
            )
        if components.vae is None:
            raise ValueError(f"{path}: a U-Net that reads a condition needs an autoencoder; none")
        latents = components.vae.module.latent_channels
        known = (latents, latents + 1, 2 * latents, 2 * latents + 1)
        if components.low_res_scheduler is not None:
            known = (latents + 3,)
        if unet.in_channels not in known:
            raise ValueError(
                f"{path}: a U-Net with {unet.in_channels} input channels is not supported; "
                f"expected {latents}, {2 * latents + 1} for inpainting, {2 * latents} for "
                f"editing by a text, or {latents + 1} for following depth"
            )
    if len(components.tokenizers) != len(components.text_encoders):
        raise ValueError(
            f"{path}: {len(components.text_encoders)} text encoders and "
            f"{len(components.tokenizers)} tokenizers; expected one for each"
        )
