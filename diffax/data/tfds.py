"""Prepared TensorFlow data sets, read by name without TensorFlow.

Found and read from their own files (features.json and array_record shards), so that neither the
code that built them nor TensorFlow is needed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from diffax.data import cache, pixels
from diffax.data.dataset import Dataset
from diffax.data.options import ImageOptions, check_cache
from diffax.data.source import Batch, Source, columns
from diffax.nearest import nearest


@dataclass(frozen=True)
class TFDS(ImageOptions):
    """A prepared TensorFlow data set with images and, where it has them, class labels."""

    name: str = "cifar10"
    """Of the data set, as name, name/config or name/config:version."""

    dir: str | None = None
    """The folder that holds prepared data sets. None: the environment's TFDS_DATA_DIR, else
    ~/tensorflow_datasets."""

    split: str = "train"
    """Any split that the set has, also slices (train[:80%]); all: every split."""

    labels: bool = True
    """Give the class of every example, where the set has classes."""

    cache_mb: int = 4096
    """Decoded images are kept in memory where all of them fit in this many MiB; 0: never."""

    def __post_init__(self) -> None:
        """Checks every value that can be judged without looking at the data."""
        super().__post_init__()
        _parts(self.name)
        check_cache(self.cache_mb)

    def load(self) -> Dataset:
        """Opens the data set.

        Raises:
            FileNotFoundError: not prepared there; the line says how to prepare it.
            ValueError: no such data set, split or image feature.
        """
        import tensorflow_datasets as tfds  # slow to import: only where it is wanted

        builder = tfds.builder_from_directory(_folder(self.name, _root(self.dir)))
        features = builder.info.features
        image_key = _first(features, tfds.features.Image, "image")
        label_key = _first(features, tfds.features.ClassLabel, "label") if self.labels else None
        if image_key is None:
            raise ValueError(f"expected a data set with images, {self.name} has {list(features)}")
        split = "+".join(builder.info.splits) if self.split == "all" else self.split
        try:
            data: Any = builder.as_data_source(
                split=split, decoders={image_key: tfds.decode.SkipDecoding()}
            )
        except NotImplementedError as error:
            raise ValueError(
                f"{builder.data_dir} was prepared in a format without random access; prepare it "
                f"elsewhere with: {_command(self.name, 'DIR')}"
            ) from error
        except ValueError as error:
            raise ValueError(
                f"{self.name} has the splits {', '.join(builder.info.splits)}, got {self.split!r}"
            ) from error

        shape = self._stored_shape(features[image_key].shape)
        decode = _decoder(features[image_key].shape)

        def read(indices: np.ndarray) -> Batch:
            records = data.__getitems__(indices.tolist())
            images = np.empty((len(records), *shape), np.uint8)
            for i, record in enumerate(records):
                images[i] = pixels.fit(decode(record[image_key]), shape[:2])
            batch: Batch = {"x": images}
            if label_key is not None:
                batch["label"] = np.array([record[label_key] for record in records], np.int32)
            return batch

        given = columns(shape, "uint8", label=label_key is not None)
        read, cached = cache.keep(read, len(data), given, self.cache_mb)
        source = Source(
            columns=given,
            size=len(data),
            read=read,
            class_names=() if label_key is None else tuple(features[label_key].names),
            cached=cached,
            notes=(f"from {builder.data_dir}",),
        )
        return Dataset(f"{self.name} ({self.split})", source, self)

    def _stored_shape(self, native: tuple[int | None, ...]) -> tuple[int, int, int]:
        if self.stored_size is not None:
            return (*self.stored_size, native[-1] or 3)
        height, width, channels = native
        if height is None or width is None or channels is None:
            raise ValueError(
                f"the images of {self.name} have many sizes; set data.image_size, for instance 64"
            )
        return height, width, channels


def _folder(name: str, root: Path) -> Path:
    """Where a data set lies prepared; a line that says what to do where it does not."""
    folder = _prepared(name, root)
    if folder is not None:
        return folder
    base = _parts(name)[0]
    if base not in names():
        raise ValueError(f"no TensorFlow data set is called {name!r}; {nearest(name, names())}")
    raise FileNotFoundError(
        f"data set {name!r} is not prepared in {root}; prepare it with: "
        f"{_command(name, str(root))}; or point data.dir to the folder that holds {base}/"
    )


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


def _root(folder: str | None) -> Path:
    usual = Path.home() / "tensorflow_datasets"
    return Path(folder or os.environ.get("TFDS_DATA_DIR") or usual).expanduser()


def _parts(name: str) -> tuple[str, str | None, str | None]:
    """name[/config][:version] -> its three parts."""
    match = re.fullmatch(r"([\w.-]+)(?:/([\w.-]+))?(?::([\w.-]+))?", name)
    if match is None:
        raise ValueError(f"expected a data set's name as name[/config][:version], got {name!r}")
    return match[1], match[2], match[3]


def _command(name: str, root: str) -> str:
    return (
        "pip install tensorflow importlib_resources && "
        f"tfds build {name} --data_dir {root} --file_format array_record"
    )


def _first(features: Any, kind: type, usual: str) -> str | None:
    """Key of the feature called `usual`, else of the first of that kind."""
    keys = [key for key, feature in features.items() if isinstance(feature, kind)]
    return usual if usual in keys else (keys[0] if keys else None)


def _decoder(native: tuple[int | None, ...]) -> Callable[[bytes], np.ndarray]:
    """Bytes -> uint8 [H, W, C]: OpenCV for PNG where it is installed (faster), else Pillow."""
    channels = native[-1] or 3
    try:
        import cv2  # pyrefly: ignore[missing-import]  # optional
    except ImportError:
        return lambda encoded: pixels.decode(encoded, channels=channels)
    flag = cv2.IMREAD_COLOR_RGB if channels == 3 else cv2.IMREAD_GRAYSCALE

    def decode(encoded: bytes) -> np.ndarray:
        if not encoded.startswith(b"\x89PNG"):  # lossy decoders differ in the last bit
            return pixels.decode(encoded, channels=channels)
        decoded = cv2.imdecode(np.frombuffer(encoded, np.uint8), flag)
        if decoded is None:
            raise OSError("broken image: OpenCV cannot read this PNG")
        image = np.asarray(decoded)
        return image[..., None] if image.ndim == 2 else image

    return decode
