"""The user's own images: a folder, its sub-folders as classes, captions beside the images."""

from __future__ import annotations

import os
import re
import threading
import warnings
import zlib
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from diffax import hub
from diffax.data import buckets, cache, captions, controls, folder, pixels
from diffax.data.dataset import Dataset
from diffax.data.options import ImageOptions, check_cache
from diffax.data.source import Batch, Source, columns
from diffax.data.spec import Column

ENDINGS = tuple(".png .jpg .jpeg .jfif .webp .bmp .gif .tif .tiff .ppm .pgm".split())
FULL_CHECK = 10_000  # up to so many images, every one is decoded before the run starts
_TRIES = 100  # neighbours asked in place of an image that broke during the run


@dataclass(frozen=True)
class ImageFolder(ImageOptions):
    """A folder of images, uint8 [H, W, channels].

    Every file with one of `ENDINGS`, in the folder and below (hidden ones left out), sorted by its
    path. Where all lie in two or more sub-folders, the first-level sub-folder is the class.

    An image that cannot be read is left out and named in the report. In folders of more than
    `FULL_CHECK` images only the headers are read at the start; one that breaks later is replaced by
    the next whole one in the list, and named in a warning.
    """

    dir: str | None = None
    """The folder, or `hf:ORG/NAME[@REVISION][/FOLDER]`, a data set of image files on the hub."""

    channels: Literal[1, 3] = 3
    """3 (colour) or 1 (greyscale)."""

    background: tuple[int, int, int] = (255, 255, 255)
    """The colour, 0 to 255, seen through transparent pixels."""

    labels: bool = True
    """Give the class of every image, where sub-folders make classes."""

    captions: bool = False
    """Give the text of every image as the batches' column "caption": from metadata.jsonl (fields
    file_name and text), else from a .txt file beside the image."""

    leave_out: str | None = None
    """A regular expression: images in whose path it is found are left out."""

    split: Literal["all", "train", "test"] = "all"
    """Which part of the folder, where some images are held out."""

    held_out: float = 0.0
    """Share, in [0, 1), of the images that are the split "test". Their names alone decide, so that
    an image stays on its side when others come or go."""

    control: str | None = None
    """Give a second image for each, as the column "control": a folder that holds one of the same
    name, with any ending, for each image; or canny: the image's edges."""

    buckets: int = 0
    """Aspect buckets: images keep their shape, but for sides that are multiples of this number, and
    about as many pixels as `image_size` has; a batch holds images of one shape. 0: none."""

    cache_mb: int = 4096
    """Decoded images are kept in memory where all of them fit in this many MiB; 0: never."""

    def __post_init__(self) -> None:
        """Checks every value that can be judged without looking at the data."""
        super().__post_init__()
        if isinstance(self.background, list):  # as JSON brings it back
            object.__setattr__(self, "background", tuple(self.background))
        if self.channels not in (1, 3):
            raise ValueError(f"data.channels must be 1 or 3, got {self.channels}")
        check_cache(self.cache_mb)
        try:
            re.compile(self.leave_out or "")
        except re.error as error:
            raise ValueError(
                f"data.leave_out {self.leave_out!r} is no regular expression: {error}"
            ) from error
        if self.buckets and (self.random_crop or not 1 <= self.buckets <= 1024):
            raise ValueError(
                f"data.buckets must be 0, or 1 to 1024 and without random crops, got {self.buckets}"
            )
        if self.buckets and self.size is None:
            raise ValueError("data.buckets needs data.image_size, whose area all images get")
        if self.split not in ("all", "train", "test"):
            raise ValueError(f"data.split must be one of all, train, test, got {self.split!r}")
        if not 0 <= self.held_out < 1:
            raise ValueError(f"data.held_out must lie in [0, 1), got {self.held_out}")
        if len(self.background) != 3 or not all(0 <= c <= 255 for c in self.background):
            raise ValueError(
                f"data.background must be three numbers from 0 to 255, got {self.background}"
            )

    def load(self) -> Dataset:
        """Opens the folder.

        Raises:
            FileNotFoundError: no such folder, or no image in it.
            ValueError: more than half of the images unreadable; images of different sizes and no
                `image_size`; captions wanted and none found.
        """
        if self.dir is None:
            raise ValueError("image_folder needs data.dir, the folder of the images")
        files = [*(f"*{ending}" for ending in ENDINGS), "*.txt", "*metadata.jsonl"]
        root = hub.located(self.dir, files, kind="dataset", bare=False).expanduser()
        names, others = folder.find(root, ENDINGS, "images")
        if not names:
            raise FileNotFoundError(
                f"no images in {root} or below it ({others:,} other files); "
                f"expected {', '.join(ENDINGS)}"
            )
        names = self._of_split(names, root)
        headers = _map(lambda name: pixels.size_of(root / name), names)
        names, sizes, rejects = folder.whole(root, names, headers, "images")
        size = self.stored_size or _only_size(root, sizes)

        def decode(name: str) -> np.ndarray:
            image = pixels.decode(
                root / name, channels=self.channels, background=self.background, at_least=size
            )
            return pixels.fit(image, size)

        arrange, lines = None, []
        if self.buckets:
            read, size, arrange, lines = self._bucketed(root, names, sizes, size)
            shape, cached = (*size, self.channels), 0
        else:
            shape = (*size, self.channels)
            names, rejects, read, cached = self._reader(root, names, shape, decode, rejects)
        class_names, labels = folder.classes_of(names) if self.labels else ((), None)
        notes = [*_notes(root, names, sizes), *lines]
        texts = None
        if self.captions:
            texts, files_read, lines = captions.find(root, names)
            others -= files_read
            notes += lines
        notes += [f"{others:,} other files ignored"] if others else []
        given = columns(shape, "uint8", label=labels is not None, caption=texts is not None)
        shown = None
        if self.control is not None:
            shown = controls.reader(self.control, root, names, ENDINGS)
            given["control"] = Column((*size, 3), "uint8")
            notes.append(f"control images: {self.control}")
        source = Source(
            columns=given,
            size=len(names),
            read=_with_columns(read, labels, texts, shown),
            arrange=arrange,
            class_names=class_names,
            labels=labels,
            cached=cached,
            notes=tuple(notes),
            rejects=rejects,
        )
        return Dataset("image_folder", source, self)

    def _bucketed(
        self, root: Path, names: list[str], sizes: list[tuple[int, int]], size: tuple[int, int]
    ) -> tuple[cache.Read, tuple[int, int], Any, list[str]]:
        """A reader, the commonest shape, the arrangement of batches, and a line for the report."""
        known = buckets.shapes(size, self.buckets)
        chosen = buckets.nearest(sizes, known)
        used, counts = np.unique(chosen, return_counts=True)

        def decode(name: str) -> np.ndarray:
            return pixels.decode(root / name, channels=self.channels, background=self.background)

        read = buckets.reader(decode, names, [known[number] for number in chosen])
        line = buckets.note([known[number] for number in used], counts)
        commonest = known[int(used[np.argmax(counts)])]
        return read, commonest, buckets.arrangement(chosen), [line]

    def _of_split(self, names: list[str], root: Path) -> list[str]:
        """The names of this split, without those that are left out."""
        if self.leave_out is not None:
            names = [name for name in names if not re.search(self.leave_out, name)]
            if not names:
                raise ValueError(f"data.leave_out {self.leave_out!r} leaves no image of {root}")
        if self.split == "all":
            return names
        out = [zlib.crc32(name.encode()) < self.held_out * 2**32 for name in names]
        kept = [n for n, held in zip(names, out, strict=True) if held == (self.split == "test")]
        if not kept:
            raise ValueError(
                f"no image of {root} is in the split {self.split} with data.held_out "
                f"{self.held_out}; hold out another share"
            )
        return kept

    def _reader(
        self,
        root: Path,
        names: list[str],
        shape: tuple[int, int, int],
        decode: Callable[[str], np.ndarray],
        rejects: list[str],
    ) -> tuple[list[str], list[str], cache.Read, int]:
        """Whole images, the others, a reader of {"x", "index"}, and the bytes it keeps."""
        fits = len(names) * int(np.prod(shape)) <= self.cache_mb * 2**20
        kept = None
        if len(names) <= FULL_CHECK:
            kept = np.empty((len(names), *shape), np.uint8) if fits else None

            def check(row_and_name: tuple[int, str]) -> None:
                row, name = row_and_name
                image = decode(name)
                if kept is not None:
                    kept[row] = image

            results = _map(check, list(enumerate(names)))
            good = np.array([not isinstance(result, Exception) for result in results])
            names, _, rejects = folder.whole(root, names, results, "images", known=rejects)
            if kept is not None:
                kept = kept if good.all() else kept[good]
                return names, rejects, _from_memory(kept), kept.nbytes
        # "index": whose image it is, where the next whole one has taken a broken one's place.
        layout = {"x": Column(shape, "uint8"), "index": Column((), "int64")}
        read = _from_files(decode, names, rejects)
        return names, rejects, *cache.keep(read, len(names), layout, self.cache_mb)


def _map(function: Callable, items: list) -> list:
    """Results, or the errors of broken images, in order; several threads."""

    def attempt(item: Any) -> Any:
        try:
            return function(item)
        except (OSError, ValueError) as error:
            return error

    with ThreadPoolExecutor(max_workers=min(16, os.cpu_count() or 1)) as pool:
        return list(pool.map(attempt, items))


def _only_size(root: Path, sizes: list[tuple[int, int]]) -> tuple[int, int]:
    counts = Counter(sizes)
    if len(counts) > 1:
        usual = ", ".join(f"{h} x {w}" for (h, w), _ in counts.most_common(3))
        raise ValueError(
            f"the images in {root} have {len(counts)} sizes ({usual}, ...); "
            f"set data.image_size, for instance {min(min(size) for size in counts)}"
        )
    return sizes[0]


def _with_columns(
    read: cache.Read,
    labels: np.ndarray | None,
    texts: tuple[str, ...] | None,
    shown: Callable[[np.ndarray, np.ndarray], np.ndarray] | None,
) -> cache.Read:
    """Gives images their labels, captions and control images."""
    every = None if texts is None else np.array(texts, dtype=object)

    def full(indices: np.ndarray) -> Batch:
        batch = dict(read(indices))
        rows = batch.pop("index")
        if labels is not None:
            batch["label"] = labels[rows]
        if every is not None:  # texts of one batch: as wide as its longest, not the set's
            batch["caption"] = every[rows].astype(str)
        if shown is not None:
            batch["control"] = shown(rows, batch["x"])
        return batch

    return full


def _from_memory(images: np.ndarray) -> cache.Read:
    return lambda indices: {"x": images[indices], "index": indices}


def _from_files(
    decode: Callable[[str], np.ndarray],
    names: list[str],
    rejects: list[str],
) -> cache.Read:
    """A reader that replaces an image which breaks during the run by the next whole one."""
    lock = threading.Lock()
    broken: set[int] = set()

    def first_whole(index: int) -> tuple[int, np.ndarray]:
        for tried in range(min(_TRIES, len(names))):
            row = (index + tried) % len(names)
            try:
                return row, decode(names[row])
            except (OSError, ValueError) as error:
                with lock:
                    if row not in broken:
                        broken.add(row)
                        rejects.append(folder.reject(names[row], error))
                        warnings.warn(
                            f"image left out: {rejects[-1]}; the next one takes its place",
                            stacklevel=2,
                        )
        raise OSError(f"{tried + 1} images in a row cannot be read, the last: {rejects[-1]}")

    def read(indices: np.ndarray) -> Batch:
        rows, images = zip(*(first_whole(int(index)) for index in indices), strict=True)
        return {"x": np.stack(images), "index": np.array(rows, np.int64)}

    return read


def _notes(root: Path, names: list[str], sizes: list[tuple[int, int]]) -> Iterable[str]:
    kinds = Counter(Path(name).suffix.lower() for name in names)
    heights, widths = zip(*sizes, strict=True)
    yield f"from {root}: " + ", ".join(f"{count:,} {kind}" for kind, count in kinds.most_common())
    yield (
        f"original sizes: height {min(heights)} to {max(heights)}, "
        f"width {min(widths)} to {max(widths)}"
    )
    if len(names) > FULL_CHECK:
        yield f"more than {FULL_CHECK:,} images: only their headers were checked"
