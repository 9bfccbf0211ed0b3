"""Writing the diffusers layout: what is trained here is used elsewhere."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import jax
import numpy as np
from jax.typing import DTypeLike

from diffax import atomic
from diffax.pretrained import naming

# The version of diffusers whose layout this is; its readers ask for one.
LAYOUT_VERSION = "0.30.0"

DTYPE_NAMES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16", "float64": "F64"}


def write_json(file: Path, content: Mapping[str, Any]) -> None:
    """Writes a JSON file, whole or not at all."""
    text = json.dumps(content, indent=2, sort_keys=True) + "\n"
    atomic.write(file, text.encode(), durable=True)


def write_safetensors(
    file: Path,
    tensors: Mapping[str, tuple[str, jax.Array]],
    dtype: DTypeLike | None = None,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Streams Flax parameters in the published layout into a safetensors file.

    The library's own writer wants all tensors, transposed, in memory at once: a second copy of
    the model. The format is a JSON header with offsets, then the bytes.

    Args:
        file: written under another name first, then moved: whole or not at all.
        tensors: published key to `(Flax leaf name, value)`, see `filling.leaves`.
        dtype: of the file; None keeps each tensor's own.
        metadata: texts to keep in its header.
    """
    header: dict[str, Any] = {"__metadata__": {"format": "pt", **(metadata or {})}}
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

    def stream(out: IO[bytes]) -> None:
        out.write(struct.pack("<Q", len(text)) + text)
        for _, (leaf, value) in sorted(tensors.items()):
            array = naming.to_published(leaf, np.asarray(value))
            out.write(np.ascontiguousarray(array, dtype=dtype or value.dtype).tobytes())

    atomic.write(file, stream, durable=True)
