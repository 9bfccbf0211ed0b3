"""Prepared TensorFlow data sets, read by name without TensorFlow.

Found and read from their own files (features.json and array_record shards), so that neither the
code that built them nor TensorFlow is needed.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import numpy as np

from diffax.data import cache, picture
from diffax.data.config import DataConfig
from diffax.data.source import Batch, Source


def load(config: DataConfig) -> Source:
    """The source of a prepared data set with pictures and, where it has them, class labels.

    Args:
        config: `name` is name[/config][:version]; `dir` the folder that holds prepared data sets
            (None: the environment's TFDS_DATA_DIR, else ~/tensorflow_datasets).

    Raises:
        FileNotFoundError: not prepared there; the line says how to prepare it.
        ValueError: no such data set, split or picture feature.
    """
    import tensorflow_datasets as tfds  # slow to import: only where it is wanted

    root = _root(config)
    folder = _prepared(config.name, root)
    if folder is None:
        raise FileNotFoundError(
            f"data set {config.name!r} is not prepared in {root}; prepare it with: "
            f"{_command(config.name, str(root))}; "
            f"or point data.dir to the folder that holds {_parts(config.name)[0]}/"
        )
    builder = tfds.builder_from_directory(folder)
    features = builder.info.features
    image_key = _first(features, tfds.features.Image, "image")
    label_key = _first(features, tfds.features.ClassLabel, "label")
    if image_key is None:
        raise ValueError(f"expected a data set with pictures, {config.name} has {list(features)}")
    split = "+".join(builder.info.splits) if config.split == "all" else config.split
    try:
        data = builder.as_data_source(split=split, decoders={image_key: tfds.decode.SkipDecoding()})
    except NotImplementedError as error:
        raise ValueError(
            f"{builder.data_dir} was prepared in a format without random access; prepare it "
            f"elsewhere with: {_command(config.name, 'DIR')}"
        ) from error
    except ValueError as error:
        raise ValueError(
            f"{config.name} has the splits {', '.join(builder.info.splits)}, got {config.split!r}"
        ) from error

    shape = _stored_shape(config, features[image_key].shape)
    decode = _decoder(features[image_key].shape)

    def read(indices: np.ndarray) -> Batch:
        records = data.__getitems__(indices.tolist())
        images = np.empty((len(records), *shape), np.uint8)
        for i, record in enumerate(records):
            images[i] = picture.fit(decode(record[image_key]), shape[:2])
        batch = {"x": images}
        if label_key is not None:
            batch["label"] = np.array([record[label_key] for record in records], np.int32)
        return batch

    layouts = {"x": cache.Layout(shape, "uint8")}
    if label_key is not None:
        layouts["label"] = cache.Layout((), "int32")
    read, cached = cache.keep(read, len(data), layouts, config.cache_mb)
    return Source(
        kind="image",
        shape=shape,
        size=len(data),
        read=read,
        classes=() if label_key is None else tuple(features[label_key].names),
        cached=cached,
        notes=(f"from {builder.data_dir}",),
    )


def knows(config: DataConfig) -> bool:
    """Whether the name is a data set prepared in `dir`, or one that could be prepared."""
    return _prepared(config.name, _root(config)) is not None or _parts(config.name)[0] in names()


def names() -> list[str]:
    """Names of the data sets that the installed tensorflow-datasets can prepare."""
    import tensorflow_datasets as tfds

    return tfds.list_builders(with_community_datasets=False)


def _prepared(name: str, root: Path) -> Path | None:
    """The folder of the newest prepared version, with features.json in it; None: there is none."""
    base, config, version = _parts(name)
    folders = [
        info.parent
        for info in sorted((root / base).glob("**/dataset_info.json"))
        if (info.parent / "features.json").is_file()
        and (version is None or info.parent.name == version)
        and (config is None or info.parent.parent.name == config)
    ]
    configs = {folder.parent.name for folder in folders}
    if len(configs) > 1:
        choices = ", ".join(f"{base}/{c}" for c in sorted(configs))
        raise ValueError(f"{root / base} holds several configurations; say which: {choices}")
    if folders:
        return max(folders, key=lambda folder: [int(n) for n in re.findall(r"\d+", folder.name)])
    return None


def _root(config: DataConfig) -> Path:
    usual = Path.home() / "tensorflow_datasets"
    return Path(config.dir or os.environ.get("TFDS_DATA_DIR") or usual)


def _parts(name: str) -> tuple[str, str | None, str | None]:
    """name[/config][:version] -> its three parts."""
    match = re.fullmatch(r"([\w.-]+)(?:/([\w.-]+))?(?::([\w.-]+))?", name)
    if match is None:
        raise ValueError(f"expected a data set's name as name[/config][:version], got {name!r}")
    return match.groups()


def _command(name: str, root: str) -> str:
    return (
        "pip install tensorflow importlib_resources && "
        f"tfds build {name} --data_dir {root} --file_format array_record"
    )


def _first(features: Any, kind: type, usual: str) -> str | None:
    """Key of the feature called `usual`, else of the first of that kind."""
    keys = [key for key, feature in features.items() if isinstance(feature, kind)]
    return usual if usual in keys else (keys[0] if keys else None)


def _stored_shape(config: DataConfig, native: tuple[int | None, ...]) -> tuple[int, int, int]:
    if config.stored_size is not None:
        return (*config.stored_size, native[-1] or 3)
    if None in native:
        raise ValueError(
            f"the pictures of {config.name} have many sizes; set data.image_size, for instance 64"
        )
    return native


def _decoder(native: tuple[int | None, ...]):
    """Bytes -> uint8 [H, W, C]: OpenCV for PNG where it is installed (faster), else Pillow."""
    channels = native[-1] or 3
    try:
        import cv2
    except ImportError:
        return lambda encoded: picture.decode(encoded, channels=channels)
    flag = cv2.IMREAD_COLOR_RGB if channels == 3 else cv2.IMREAD_GRAYSCALE

    def decode(encoded: bytes) -> np.ndarray:
        if not encoded.startswith(b"\x89PNG"):  # lossy decoders differ in the last bit
            return picture.decode(encoded, channels=channels)
        pixels = cv2.imdecode(np.frombuffer(encoded, np.uint8), flag)
        return pixels[..., None] if pixels.ndim == 2 else pixels

    return decode
