"""Writing the diffusers layout: what is trained here is used elsewhere."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from diffax.models import CLIPTextModel
from diffax.pretrained import naming
from diffax.pretrained.configs import config_from_module
from diffax.pretrained.filling import leaves

DTYPE_NAMES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16", "float64": "F64"}


def save_network(
    folder: str | Path,
    module: nn.Module,
    params: Mapping[str, Any],
    *,
    dtype: jnp.dtype | None = None,
    variant: str | None = None,
) -> None:
    """Writes `config.json` and the safetensors file of one network, one tensor at a time.

    Args:
        folder: made where it is missing, such as `checkpoint/unet`.
        module: the network.
        params: `{"params": ...}`, as its `init` makes it.
        dtype: of the file; None keeps the parameters' own.
        variant: such as "fp16", part of the file's name.

    Raises:
        ValueError: a dtype safetensors has no name for.
        FileExistsError: a weights file is there already; nothing is overwritten.
    """
    folder = Path(folder)
    stem = weights_stem(module)
    file = folder / f"{stem}{'.' + variant if variant else ''}.safetensors"
    if file.exists():
        raise FileExistsError(f"{file} exists; save to another folder or remove it first")
    folder.mkdir(parents=True, exist_ok=True)
    write_safetensors(file, leaves(params), dtype)
    write_json(folder / "config.json", config_from_module(module))


def weights_stem(module: nn.Module) -> str:
    """The published name, without ending, of the file with this network's weights."""
    return "model" if isinstance(module, CLIPTextModel) else "diffusion_pytorch_model"


def write_json(file: Path, content: Mapping[str, Any]) -> None:
    """Writes a JSON file, whole or not at all."""
    _replace(file, iter([(json.dumps(content, indent=2, sort_keys=True) + "\n").encode()]))


def write_safetensors(
    file: Path,
    tensors: Mapping[str, tuple[str, jax.Array]],
    dtype: jnp.dtype | None = None,
) -> None:
    """Streams Flax parameters in the published layout into a safetensors file.

    The library's own writer wants all tensors, transposed, in memory at once: a second copy of
    the model. The format is a JSON header with offsets, then the bytes.

    Args:
        file: written under another name first, then moved: whole or not at all.
        tensors: published key to `(Flax leaf name, value)`, see `filling.leaves`.
        dtype: of the file; None keeps each tensor's own.
    """
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for key, (leaf, value) in sorted(tensors.items()):
        kind = np.dtype(dtype or value.dtype)
        if kind.name not in DTYPE_NAMES:
            raise ValueError(f"{key}: cannot write {kind.name}; use one of {list(DTYPE_NAMES)}")
        shape = naming.published_shape(leaf, tuple(value.shape))
        end = offset + kind.itemsize * int(np.prod(shape, dtype=np.int64))
        header[key] = {
            "dtype": DTYPE_NAMES[kind.name],
            "shape": list(shape),
            "data_offsets": [offset, end],
        }
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)

    def chunks() -> Iterator[bytes]:
        yield struct.pack("<Q", len(text)) + text
        for _, (leaf, value) in sorted(tensors.items()):
            array = naming.to_published(leaf, np.asarray(value))
            yield np.ascontiguousarray(array, dtype=dtype or value.dtype).tobytes()

    _replace(file, chunks())


def _replace(file: Path, chunks: Iterator[bytes]) -> None:
    part = file.with_name(file.name + ".part")
    try:
        with part.open("wb") as out:
            for chunk in chunks:
                out.write(chunk)
            out.flush()
            os.fsync(out.fileno())
        os.replace(part, file)
    finally:
        part.unlink(missing_ok=True)
