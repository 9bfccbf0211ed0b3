"""One published network: a Flax module with its parameters, from a folder and back."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
from jax.typing import DTypeLike

from diffax.models.bound import BoundModule
from diffax.pretrained import remote
from diffax.pretrained.configs import (
    TRANSFORMERS,
    module_from_config,
    parameter_shapes,
    read_json,
    written_config,
)
from diffax.pretrained.control_file import load_control_file
from diffax.pretrained.filling import fill, leaves
from diffax.pretrained.saving import write_json, write_safetensors
from diffax.pretrained.weights import open_folder


def load_network(
    folder: str | Path,
    *,
    dtype: DTypeLike = jnp.float32,
    param_dtype: DTypeLike = jnp.float32,
    variant: str | None = None,
    **options: Any,
) -> BoundModule:
    """Loads one network from a folder with `config.json` and safetensors, or a ControlNet's file.

    Args:
        folder: such as `checkpoint/unet`, or a whole `google/ddpm-*` snapshot; or its name on the
            hub, `org/name[@revision]/unet`, see `diffax.hub`; or a single file with a ControlNet
            of the original layout.
        dtype: of the computation.
        param_dtype: of the parameters in memory, whatever the file's.
        variant: such as "fp16", to prefer that file.
        **options: `query_chunk`, `remat`, for networks that have them.

    Returns:
        The network, complete; nothing is half-loaded.

    Raises:
        FileNotFoundError: the folder or a file of it is missing.
        ValueError: an unsupported network, an unusable file, or tensors that do not fit.

    Example:
        >>> unet = load_network("stable-diffusion-v1-5/unet")  # doctest: +SKIP
        >>> unet(x, t, {"context": text})  # doctest: +SKIP
    """
    if Path(folder).is_file():
        options |= {"dtype": dtype, "param_dtype": param_dtype}
        return load_control_file(Path(folder), **options)
    folder = remote.network(folder, variant)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder")
    config = read_json(folder / "config.json")
    try:
        module = module_from_config(config, dtype=dtype, param_dtype=param_dtype, **options)
    except ValueError as error:
        raise ValueError(f"{folder}: {error}") from error
    tensors = open_folder(folder, weights_stem(module), variant)
    params = fill(parameter_shapes(module), tensors, where=str(folder))
    return BoundModule(module, params)


def save_network(
    network: BoundModule,
    folder: str | Path,
    *,
    dtype: DTypeLike | None = None,
    variant: str | None = None,
    config: Mapping[str, Any] | None = None,
) -> None:
    """Writes `config.json` and the safetensors file of one network, one tensor at a time.

    Args:
        network: a module of a published kind and its parameters.
        folder: made where it is missing, such as `checkpoint/unet`.
        dtype: of the file; None keeps the parameters' own.
        variant: such as "fp16", part of the file's name.
        config: the `config.json` it was loaded with, whose further fields are then kept; without
            it they are left out, which means their defaults.

    Raises:
        ValueError: a dtype safetensors has no name for.
        FileExistsError: a weights file is there already; nothing is overwritten.
    """
    folder = Path(folder)
    stem = weights_stem(network.module)
    file = folder / f"{stem}{'.' + variant if variant else ''}.safetensors"
    if file.exists():
        raise FileExistsError(f"{file} exists; save to another folder or remove it first")
    folder.mkdir(parents=True, exist_ok=True)
    tensors = leaves(network.params)
    write_safetensors(file, tensors, dtype)
    kind = jnp.dtype(dtype or next(iter(tensors.values()))[1].dtype).name
    write_json(folder / "config.json", written_config(network.module, config or {}, kind))


def weights_stem(module: Any) -> str:
    """The published name, without ending, of the file with this network's weights."""
    return "model" if isinstance(module, TRANSFORMERS) else "diffusion_pytorch_model"
