"""ControlNets in the original single file (lllyasviel/ControlNet), `.safetensors` or a pickle."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diffax.models import BoundModule
from diffax.pretrained import families, original
from diffax.pretrained.configs import module_from_config, parameter_shapes
from diffax.pretrained.files import open_file
from diffax.pretrained.filling import fill
from diffax.pretrained.weights import Subset, Tensors

_HINT = "input_hint_block.0.weight"
_LATENTS = "input_blocks.0.0.weight"
_PREFIXES = ("control_model.", "")  # beside a whole model, or by itself


def load_control_file(
    file: Path, config: Mapping[str, Any] | None = None, **options: Any
) -> BoundModule:
    """The ControlNet of a single file; whatever else is in it is left unread.

    Args:
        file: see `open_file`.
        config: as a `config.json` would say it; None: of the family whose texts it reads.
        **options: of the module, such as `dtype`.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no ControlNet in it, or one of no known family.
    """
    tensors = open_file(file)
    prefix = next((p for p in _PREFIXES if p + _HINT in tensors), None)
    if prefix is None:
        raise ValueError(
            f"{file}: no ControlNet of the original layout in it (no {_PREFIXES[0]}{_HINT}); one "
            "of diffusers' layout is a folder with config.json"
        )
    inside = Subset(tensors, prefix) if prefix else tensors
    try:
        module: Any = module_from_config(config or _config(inside), **options)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error
    locate = original.control_locator(module)
    params = fill(
        parameter_shapes(module),
        inside,
        locate=locate,
        harmless=original.LEFTOVER,
        where=str(file),
    )
    return BoundModule(module, params)


def _config(tensors: Tensors) -> dict[str, Any]:
    """The fields of the family's U-Net that its encoder has, and the file's channels."""
    unet = families.unet_by_context(tensors)
    own = {k: v for k, v in unet.items() if k not in ("up_block_types", "sample_size")}
    return own | {
        "_class_name": "ControlNetModel",
        "in_channels": tensors.shape(_LATENTS)[1],
        "conditioning_channels": tensors.shape(_HINT)[1],
    }
