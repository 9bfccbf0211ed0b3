"""A whole CLIP, both encoders and the tokenizer, from one published folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from diffax.models.bound import BoundModule
from diffax.pretrained import naming
from diffax.pretrained.configs import module_from_config, parameter_shapes, read_json
from diffax.pretrained.filling import fill
from diffax.pretrained.tokenizer import Tokenizer, load_tokenizer
from diffax.pretrained.weights import Tensors, open_folder

_TEXT, _VISION = r"^text_(model|projection)\.", r"^(vision_model|visual_projection)\."
_SCALE = (r"^logit_scale$", "the temperature of CLIP's own training")


class PublishedCLIP(NamedTuple):
    """Both encoders, with their maps into the joint space, and the tokenizer of the texts."""

    text: BoundModule
    image: BoundModule
    tokenizer: Tokenizer


def load_clip(folder: str | Path) -> PublishedCLIP:
    """Loads a CLIP, such as a snapshot of `openai/clip-vit-base-patch32`.

    Args:
        folder: with `config.json` (a `CLIPModel`), `model.safetensors` and the tokenizer's files.

    Raises:
        FileNotFoundError: the folder or a file of it is missing.
        ValueError: another model, an unusable file, or tensors that do not fit.

    Example:
        >>> clip = load_clip("clip-vit-base-patch32")  # doctest: +SKIP
    """
    folder = Path(folder)
    config = read_json(folder / "config.json")
    parts = [config.get(f"{part}_config") for part in ("text", "vision")]
    if config.get("architectures") != ["CLIPModel"] or not all(isinstance(p, dict) for p in parts):
        raise ValueError(
            f"{folder}: expected a CLIPModel with text_config and vision_config, got "
            f"{config.get('architectures')!r:.80}; give the folder of a whole CLIP"
        )
    tensors = open_folder(folder, "model")
    text, image = (
        _encoder(folder, f"CLIP{kind}ModelWithProjection", config, part, tensors, other)
        for kind, part, other in zip(("Text", "Vision"), parts, (_VISION, _TEXT), strict=True)
    )
    return PublishedCLIP(text, image, load_tokenizer(folder))


def _encoder(
    folder: Path, name: str, config: dict, part: Any, tensors: Tensors, other: str
) -> BoundModule:
    joint = {"projection_dim": config["projection_dim"]} if "projection_dim" in config else {}
    try:
        module = module_from_config({**part, **joint, "architectures": [name]})
    except ValueError as error:
        raise ValueError(f"{folder}: {error}") from error
    harmless = (*naming.HARMLESS, _SCALE, (other, "the other encoder"))
    params = fill(parameter_shapes(module), tensors, harmless=harmless, where=str(folder))
    return BoundModule(module, params)
