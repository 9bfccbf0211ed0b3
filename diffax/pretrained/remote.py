"""Which files of a published model are needed, where the hub has many more of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from diffax import hub
from diffax.pretrained.configs import read_json

STEMS = ("diffusion_pytorch_model", "model")
TEXTS = ("*.json", "*.txt")  # settings, and a tokenizer's vocabulary

LORA = (
    "pytorch_lora_weights.safetensors",
    "adapter_model.safetensors",
    "adapter_config.json",
)


def weights(folder: str = "", variant: str | None = None) -> list[str]:
    """Patterns of one network's safetensors, whole or in shards."""
    middle = f".{variant}" if variant else ""
    place = f"{folder}/" if folder else ""
    endings = (f"{middle}.safetensors", f"{middle}-*.safetensors", f"-*-of-*{middle}.safetensors")
    return [f"{place}{stem}{ending}" for stem in STEMS for ending in endings]


def network(path: str | Path, variant: str | None) -> Path:
    """The folder of one network; see `hub.located`."""
    wanted = ["config.json", "*.index*.json", *weights(variant=variant)]
    return _complete(path, wanted, ("",))


def readers(path: str | Path) -> Path:
    """A model's folder with its text encoders and tokenizers; see `hub.located`."""
    parts = ("text_encoder", "text_encoder_2")
    wanted = ["model_index.json", "unet/config.json", "tokenizer*/*.json", "tokenizer*/*.txt"]
    return _complete(path, [*wanted, *_files(parts, None)], parts)


def pipeline(path: str | Path, variant: str | None, parts: Mapping[str, tuple[str, ...]]) -> Path:
    """A model's folder with everything that is read of it, or its single file.

    Args:
        path: see `hub.located`.
        variant: of the weights, such as "fp16".
        parts: `_class_name` of model_index.json -> the folders that are read.
    """
    if hub.name_of(path) is None:
        return Path(path)
    folder = hub.located(path, ["model_index.json"])
    if folder.is_file() or not (folder / "model_index.json").is_file():
        return folder
    index = read_json(folder / "model_index.json")
    read = parts.get(str(index.get("_class_name")), ())
    wanted = ["model_index.json", "*scheduler*/*.json", "scheduler_config.json"]
    wanted += _files(read, variant)
    if read == ("unet",):  # the oldest snapshots keep their only network beside model_index.json
        wanted += ["config.json", *weights(variant=variant)]
    return _complete(path, wanted, read)


def _files(parts: Iterable[str], variant: str | None) -> list[str]:
    """Patterns of some folders' settings and weights."""
    return [
        pattern
        for part in parts
        for pattern in (*(f"{part}/{text}" for text in TEXTS), *weights(part, variant))
    ]


def _complete(path: str | Path, wanted: list[str], parts: Iterable[str]) -> Path:
    """The files that are wanted; of folders without weights then, whatever safetensors they have.

    So a variant that is missing, or the only one, is found as in a folder of this machine.
    """
    folder = hub.located(path, wanted)
    if hub.name_of(path) is None:
        return folder
    bare = [
        part
        for part in parts
        if (folder / part / "config.json").is_file()
        and not any((folder / part).glob("*.safetensors"))
    ]
    places = [f"{part}/" if part else "" for part in bare]
    return hub.located(path, [f"{p}*.safetensors" for p in places]) if bare else folder
