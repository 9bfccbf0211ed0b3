"""Images in parquet files, as data sets are published on the hub: read with pyarrow."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from diffax import hub
from diffax.data import cache, pixels
from diffax.data.dataset import Dataset
from diffax.data.options import ImageOptions, check_cache
from diffax.data.source import Batch, Source, columns
from diffax.printable import printable

_SPLIT = re.compile(r"([A-Za-z]\w*?)(?:-\d+-of-\d+)?\.parquet")
_IMAGES = ("image", "img")
_LABELS = ("label", "labels", "fine_label")
_CHECKED = 1000  # images whose size is looked at before a run starts


@dataclass(frozen=True)
class Parquet(ImageOptions):
    """Images, class labels and captions in parquet files.

    Files are called SPLIT.parquet or SPLIT-00000-of-00002.parquet, or lie in a folder SPLIT. The
    encoded images of a split are held in memory.
    """

    dir: str | None = None
    """A folder with the files, one of them, or hf:ORG/NAME[@REVISION], a data set on the hub."""

    split: str = "train"
    """Which of the splits that the names tell; all: every file."""

    image: str | None = None
    """The column of encoded images; None: image or img."""

    label: str | None = None
    """The column of classes, whole numbers or texts; None: label, labels or fine_label."""

    labels: bool = True
    """Give the class of every image, where there are any."""

    caption: str = "text"
    """The column of captions."""

    captions: bool = False
    """Give the text of every image as the batches' column "caption"."""

    channels: Literal[1, 3] = 3
    """3 (colour) or 1 (greyscale)."""

    cache_mb: int = 4096
    """Decoded images are kept in memory where all of them fit in this many MiB; 0: never."""

    def __post_init__(self) -> None:
        """Checks every value that can be judged without looking at the data."""
        super().__post_init__()
        check_cache(self.cache_mb)
        if self.channels not in (1, 3):
            raise ValueError(f"data.channels must be 1 or 3, got {self.channels}")

    def load(self) -> Dataset:
        """Opens the files.

        Raises:
            FileNotFoundError: no such files.
            ValueError: pyarrow is missing; no such split or column; images of many sizes and no
                `image_size`.
        """
        table, root = self._table()
        image, label = self._column(table, "image", _IMAGES), None
        if self.labels:
            label = self._column(table, "label", _LABELS, needed=self.label is not None)
        encoded = table.column(image)
        size = self.stored_size or _only_size(encoded)
        extra: Batch = {}
        names: tuple[str, ...] = ()
        if label is not None:
            extra["label"], names = _classes(table, label)
        if self.captions:
            extra["caption"] = _captions(table, self.caption)
        read = _reader(encoded, self.channels, size)
        given = columns((*size, self.channels), "uint8")
        read, cached = cache.keep(read, len(encoded), given, self.cache_mb)
        notes = [f"from {printable(root)}"]
        notes += [f"captions, the first: {extra['caption'][0]}"] if self.captions else []
        source = Source(
            columns=columns(
                (*size, self.channels), "uint8", label="label" in extra, caption=self.captions
            ),
            size=len(encoded),
            read=lambda rows: read(rows) | {name: value[rows] for name, value in extra.items()},
            class_names=names,
            labels=extra.get("label"),
            cached=cached,
            notes=tuple(notes),
        )
        return Dataset(f"parquet ({self.split})", source, self)

    def _table(self) -> tuple[Any, Path]:
        """The columns that are read, and where they lie."""
        if self.dir is None:
            raise ValueError("parquet needs data.dir, a folder of .parquet files or hf:ORG/NAME")
        try:
            from pyarrow import parquet
        except ImportError as error:
            raise ValueError(
                "parquet files need the package pyarrow: pip install 'diffax[parquet]'"
            ) from error
        needed = ["*.parquet"] if self.split == "all" else self._patterns()
        root = hub.located(self.dir, needed, kind="dataset", bare=False).expanduser()
        files = [root] if root.is_file() else self._files(root)
        wanted = {self.image, self.label, *_IMAGES, *_LABELS} | (
            {self.caption} if self.captions else set()
        )
        try:
            has = parquet.read_schema(files[0]).names
            chosen = [name for name in has if name in wanted]
            return parquet.ParquetDataset(files).read(columns=chosen), root
        except Exception as error:  # foreign bytes go through parsers that raise many kinds
            text = printable(" ".join(str(error).split()))
            raise ValueError(f"{files[0]} cannot be read as parquet: {text}") from error

    def _patterns(self) -> list[str]:
        ends = (f"{self.split}-*.parquet", f"{self.split}.parquet", f"{self.split}/*.parquet")
        return [*ends, *(f"*/{end}" for end in ends)]

    def _files(self, root: Path) -> list[Path]:
        """Those of the split, in order."""
        every = sorted(root.glob("**/*.parquet"))
        if not every:
            raise FileNotFoundError(f"no .parquet files in {root}; set data.dir to their folder")
        splits = {path: _split_of(path, root) for path in every}
        files = [path for path in every if self.split in ("all", splits[path])]
        if not files:
            known = ", ".join(sorted(set(splits.values())))
            raise ValueError(f"{root} has the splits {known}, got {self.split!r}")
        return files

    def _column(
        self, table: Any, field: str, usual: tuple[str, ...], needed: bool = True
    ) -> str | None:
        """The column that a field names, or the usual one."""
        said = getattr(self, field)
        found = [name for name in ((said,) if said else usual) if name in table.column_names]
        if not found and needed:
            raise ValueError(
                f"expected a column {said or ' or '.join(usual)} for data.{field}, the files have "
                f"{', '.join(table.column_names) or 'none of the usual names'}; set data.{field}"
            )
        return found[0] if found else None


def _split_of(path: Path, root: Path) -> str:
    """What a file's name says; of a name that is a number, its folder's."""
    found = _SPLIT.fullmatch(path.name)
    if path.parent != root and (found is None or path.parent.name in ("train", "test")):
        return path.parent.name
    return found[1] if found else path.stem


def _bytes(value: Any, row: int) -> bytes:
    """An image's file: as it is, or as the hub wraps it."""
    found = value.get("bytes") if isinstance(value, dict) else value
    if not isinstance(found, bytes):
        raise ValueError(f"row {row} holds no image file, but {type(found).__name__}")
    return found


def _only_size(encoded: Any) -> tuple[int, int]:
    """(height, width) of all images."""
    rows = np.unique(np.linspace(0, len(encoded) - 1, _CHECKED).astype(int))
    sizes = {pixels.size_of(_bytes(encoded[int(row)].as_py(), int(row))) for row in rows}
    if len(sizes) > 1:
        raise ValueError(
            f"the images have many sizes, such as {sorted(sizes)[:3]}; set data.image_size, for "
            "instance 64"
        )
    return sizes.pop()


def _reader(encoded: Any, channels: int, size: tuple[int, int]) -> Callable[[np.ndarray], Batch]:
    def one(row: int) -> np.ndarray:
        file = _bytes(encoded[row].as_py(), row)
        try:
            return pixels.fit(pixels.decode(file, channels=channels, at_least=size), size)
        except (OSError, ValueError) as error:
            raise ValueError(f"the image in row {row} cannot be read: {error}") from error

    return lambda rows: {"x": np.stack([one(int(row)) for row in rows])}


def _classes(table: Any, column: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Numbers from 0, and names: the file's own, else the texts or numbers themselves."""
    values = table.column(column).to_pylist()
    if None in values:
        raise ValueError(f"row {values.index(None)} has no {column}; set data.labels to False")
    if all(isinstance(value, str) for value in values):
        names = sorted(set(values))
        numbers = {name: i for i, name in enumerate(names)}
        return np.array([numbers[v] for v in values], np.int32), tuple(names)
    labels = np.array(values)
    if not np.issubdtype(labels.dtype, np.integer) or labels.min() < 0:
        raise ValueError(
            f"expected {column} as whole numbers from 0 or texts; set data.label or data.labels "
            "False"
        )
    known = _names_of(table.schema, column)
    if len(known) <= labels.max():
        known = tuple(map(str, range(int(labels.max()) + 1)))
    return labels.astype(np.int32), known


def _names_of(schema: Any, column: str) -> tuple[str, ...]:
    """The classes' names as the hub's files keep them beside the columns."""
    try:
        told = json.loads((schema.metadata or {})[b"huggingface"])
        return tuple(map(str, told["info"]["features"][column]["names"]))
    except (KeyError, TypeError, ValueError):
        return ()


def _captions(table: Any, column: str) -> np.ndarray:
    if column not in table.column_names:
        raise ValueError(
            f"data.captions is on, but there is no column {column}; set data.caption to one of: "
            f"{', '.join(table.column_names)}"
        )
    return np.array([str(text or "") for text in table.column(column).to_pylist()])
