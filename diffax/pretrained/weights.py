"""Tensors by name from safetensors files, one at a time: the file is never held in memory twice."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import ml_dtypes
import numpy as np
import safetensors

# Types that the format has and its NumPy reader has not.
FLOAT8 = {"F8_E4M3": ml_dtypes.float8_e4m3fn, "F8_E5M2": ml_dtypes.float8_e5m2}


class Tensors(Mapping[str, np.ndarray]):
    """Named tensors that are read when asked for, and only then.

    Args:
        names: the names, in the file's order.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._names = dict.fromkeys(names)

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a tensor, without reading it."""
        raise NotImplementedError

    def __contains__(self, name: object) -> bool:
        return name in self._names  # Mapping's own would read the tensor

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


class SafetensorsFiles(Tensors):
    """The tensors of one safetensors file, or of a checkpoint's shards, memory-mapped.

    Args:
        files: the files; no tensor may be in two of them.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file is truncated, tampered with, or no safetensors file.
    """

    def __init__(self, *files: Path) -> None:
        self.metadata: dict[str, str] = {}
        self._where: dict[str, safetensors.safe_open] = {}
        self._files: dict[str, Path] = {}
        for file in files:
            handle = _open(Path(file))
            self.metadata |= handle.metadata() or {}
            for name in handle.keys():
                if name in self._where:
                    raise ValueError(f"{file}: tensor {name!r} is in two shards of one checkpoint")
                self._where[name], self._files[name] = handle, Path(file)
        super().__init__(self._where)

    def __getitem__(self, name: str) -> np.ndarray:
        kind = self._where[name].get_slice(name).get_dtype()
        if kind in FLOAT8:
            return _raw(self._files[name], name).view(FLOAT8[kind]).reshape(self.shape(name))
        return self._where[name].get_tensor(name)

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a tensor, from the file's header."""
        return tuple(self._where[name].get_slice(name).get_shape())


def _raw(file: Path, name: str) -> np.ndarray:
    """The bytes of a tensor; the file's header has been judged already."""
    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        begin, end = json.loads(opened.read(length))[name]["data_offsets"]
        opened.seek(8 + length + begin)
        return np.frombuffer(opened.read(end - begin), np.uint8)


class Subset(Tensors):
    """The tensors whose names start with `prefix`, under names without it."""

    def __init__(self, tensors: Tensors, prefix: str) -> None:
        self._tensors = tensors
        self._prefix = prefix
        super().__init__(n.removeprefix(prefix) for n in tensors if n.startswith(prefix))

    def __getitem__(self, name: str) -> np.ndarray:
        return self._tensors[self._prefix + name]

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a tensor."""
        return self._tensors.shape(self._prefix + name)


def open_folder(folder: Path, stem: str, variant: str | None = None) -> SafetensorsFiles:
    """The tensors of one component's folder.

    Args:
        folder: such as `checkpoint/unet`.
        stem: the file's name without ending, `diffusion_pytorch_model` or `model`.
        variant: such as "fp16": prefer `stem.fp16.safetensors`. Where it is None and only one
            variant is there, that one is read.

    Raises:
        FileNotFoundError: no safetensors there.
        ValueError: a file or a shard index is unusable.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: expected a component's folder, found none")
    for middle in dict.fromkeys(["." + variant if variant else "", "", *_variants(folder, stem)]):
        single = folder / f"{stem}{middle}.safetensors"
        if single.is_file():
            return SafetensorsFiles(single)
        index = folder / f"{stem}.safetensors.index{middle}.json"
        if index.is_file():
            return SafetensorsFiles(*_shards(index))
    others = sorted(p.name for p in folder.iterdir())
    hint = (
        "; convert the pickled .bin to safetensors first"
        if any(n.endswith((".bin", ".pth")) for n in others)
        else ""
    )
    raise FileNotFoundError(
        f"{folder}: expected {stem}.safetensors (or shards with an index), found {others}{hint}"
    )


def _variants(folder: Path, stem: str) -> list[str]:
    """The only variant in the folder, as `[".fp16"]`, or nothing where there is a choice."""
    middles = {
        p.name.removeprefix(stem).removesuffix(".safetensors")
        for p in folder.glob(f"{stem}.*.safetensors")
    } | {
        p.name.removeprefix(f"{stem}.safetensors.index").removesuffix(".json")
        for p in folder.glob(f"{stem}.safetensors.index.*.json")
    }
    named = {m for m in middles if m and "-of-" not in m}
    return sorted(named) if len(named) == 1 else []


def _shards(index: Path) -> list[Path]:
    try:
        names = set(json.loads(index.read_text())["weight_map"].values())
    except (ValueError, KeyError, AttributeError) as error:
        raise ValueError(f"{index}: not a shard index with a weight_map ({error})") from error
    outside = [n for n in names if Path(n).name != n]
    if outside:
        raise ValueError(f"{index}: shards must lie beside the index, got {outside}")
    missing = sorted(n for n in names if not (index.parent / n).is_file())
    if missing:
        raise FileNotFoundError(f"{index}: of {len(names)} shards these are missing: {missing}")
    return [index.parent / n for n in sorted(names)]


def _open(file: Path):
    if not file.is_file():
        raise FileNotFoundError(f"{file}: no such file")
    try:
        return safetensors.safe_open(file, framework="numpy")
    except Exception as error:  # the library has one error class for everything
        raise ValueError(
            f"{file}: not a complete safetensors file ({error}); download it again"
        ) from error
