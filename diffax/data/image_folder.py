"""The user's own pictures: a folder, its sub-folders as classes, captions beside the pictures."""

from __future__ import annotations

import json
import os
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from diffax.data import cache, picture
from diffax.data.config import DataConfig
from diffax.data.source import Batch, Source

ENDINGS = tuple(".png .jpg .jpeg .jfif .webp .bmp .gif .tif .tiff .ppm .pgm".split())
FULL_CHECK = 10_000  # up to so many pictures, every one is decoded before the run starts
_MOST_BAD = 0.5  # share of unreadable pictures above which the folder is refused
_TRIES = 100  # neighbours asked in place of a picture that broke during the run


def load(config: DataConfig) -> Source:
    """The source of a folder of pictures.

    Every file with one of `ENDINGS`, in the folder and below (hidden ones left out), sorted by its
    path. Where all lie in two or more sub-folders, the first-level sub-folder is the class.

    A picture that cannot be read is left out and named in the report. In folders of more than
    `FULL_CHECK` pictures only the headers are read at the start; one that breaks later is
    replaced by the next whole one in the list, and named in a warning.

    Args:
        config: `dir` the folder.

    Raises:
        FileNotFoundError: no such folder, or no picture in it.
        ValueError: more than half of the pictures unreadable; pictures of different sizes and no
            `image_size`; captions wanted and none found.
    """
    if config.dir is None:
        raise ValueError("image_folder needs data.dir, the folder of the pictures")
    root = Path(config.dir).expanduser()
    names, others = _find(root)
    if not names:
        raise FileNotFoundError(
            f"no pictures in {root} or below it ({others:,} other files); "
            f"expected {', '.join(ENDINGS)}"
        )

    headers = _map(lambda name: picture.size_of(root / name), names)
    names, sizes, rejects = _whole(root, names, headers)
    size = config.stored_size or _only_size(root, sizes)
    shape = (*size, config.channels)

    def decode(name: str) -> np.ndarray:
        pixels = picture.decode(
            root / name, channels=config.channels, background=config.background, at_least=size
        )
        return picture.fit(pixels, size)

    fits = len(names) * int(np.prod(shape)) <= config.cache_mb * 2**20
    kept = None
    if len(names) <= FULL_CHECK:
        kept = np.empty((len(names), *shape), np.uint8) if fits else None

        def check(row_and_name: tuple[int, str]) -> None:
            row, name = row_and_name
            pixels = decode(name)
            if kept is not None:
                kept[row] = pixels

        results = _map(check, list(enumerate(names)))
        good = np.array([not isinstance(result, Exception) for result in results])
        names, _, rejects = _whole(root, names, results, known=rejects)
        if kept is not None and not good.all():
            kept = kept[good]

    classes, labels = _classes(names)
    captions, caption_note = _captions(root, names) if config.captions else (None, None)
    if kept is not None:
        read, cached = _from_memory(kept, labels), kept.nbytes
    else:
        layouts = {"x": cache.Layout(shape, "uint8"), "index": cache.Layout((), "int64")}
        if labels is not None:
            layouts["label"] = cache.Layout((), "int32")
        read = _from_files(decode, names, labels, rejects)
        read, cached = cache.keep(read, len(names), layouts, config.cache_mb)
    return Source(
        kind="image",
        shape=shape,
        size=len(names),
        read=read,
        classes=classes,
        labels=labels,
        captions=captions,
        cached=cached,
        notes=tuple(_notes(root, names, sizes, others, caption_note)),
        rejects=rejects,
    )


def _find(root: Path) -> tuple[list[str], int]:
    """Sorted relative paths of the pictures, and the number of other files."""
    if not root.exists():
        raise FileNotFoundError(f"there is no folder {root}; set data.dir to the pictures' folder")
    if not root.is_dir():
        raise ValueError(f"expected a folder of pictures, {root} is a file")

    def refuse(error: OSError) -> None:
        raise ValueError(f"cannot read the folder {error.filename}: {error.strerror}") from error

    names, others, seen = [], 0, set()
    for folder, below, files in os.walk(root, onerror=refuse, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:  # a link back up: its pictures are already in the list
            below.clear()
            continue
        seen.add(real)
        below[:] = sorted(name for name in below if not name.startswith((".", "__MACOSX")))
        for file in files:
            if file.startswith("."):
                continue
            if file.lower().endswith(ENDINGS):
                names.append(Path(folder, file).relative_to(root).as_posix())
            else:
                others += 1
    return sorted(names), others


def _map(function: Callable, items: list) -> list:
    """Results, or the errors of broken pictures, in order; several threads."""

    def attempt(item):
        try:
            return function(item)
        except (OSError, ValueError) as error:
            return error

    with ThreadPoolExecutor(max_workers=min(16, os.cpu_count() or 1)) as pool:
        return list(pool.map(attempt, items))


def _whole(
    root: Path, names: list[str], results: list, known: Iterable[str] = ()
) -> tuple[list[str], list, list[str]]:
    """Splits names by whether reading them gave a result or an error."""
    pairs = list(zip(names, results, strict=True))
    rejects = list(known) + [_reject(n, r) for n, r in pairs if isinstance(r, Exception)]
    good = [(n, r) for n, r in pairs if not isinstance(r, Exception)]
    if len(rejects) > _MOST_BAD * (len(rejects) + len(good)):
        raise ValueError(
            f"{len(rejects):,} of {len(rejects) + len(good):,} pictures in {root} cannot be read, "
            f"more than half; the first: {rejects[0]}"
        )
    return [n for n, _ in good], [r for _, r in good], rejects


def _reject(name: str, error: Exception) -> str:
    return f"{name}: {getattr(error, 'strerror', None) or error}"


def _only_size(root: Path, sizes: list[tuple[int, int]]) -> tuple[int, int]:
    counts = Counter(sizes)
    if len(counts) > 1:
        usual = ", ".join(f"{h} x {w}" for (h, w), _ in counts.most_common(3))
        raise ValueError(
            f"the pictures in {root} have {len(counts)} sizes ({usual}, ...); "
            f"set data.image_size, for instance {min(min(size) for size in counts)}"
        )
    return sizes[0]


def _classes(names: list[str]) -> tuple[tuple[str, ...], np.ndarray | None]:
    folders = [name.split("/", 1)[0] if "/" in name else None for name in names]
    classes = sorted(set(folders) - {None})
    if None in folders or len(classes) < 2:
        return (), None
    number = {name: i for i, name in enumerate(classes)}
    return tuple(classes), np.array([number[folder] for folder in folders], np.int32)


def _captions(root: Path, names: list[str]) -> tuple[tuple[str, ...], str]:
    """One text a picture, from metadata.jsonl files, else from .txt files beside the pictures."""
    texts: dict[str, str] = {}
    tables = sorted({root, *(root / name for name in _folders(names))})
    for table in (folder / "metadata.jsonl" for folder in tables):
        if table.is_file():
            texts |= {
                Path(os.path.normpath(table.parent / file)).relative_to(root).as_posix(): text
                for file, text in _table(table)
            }
    for name in names:
        beside = (root / name).with_suffix(".txt")
        if name not in texts and beside.is_file():
            texts[name] = beside.read_text(encoding="utf-8").strip()
    missing = [name for name in names if not texts.get(name)]
    if len(missing) == len(names):
        raise ValueError(
            f"data.captions is on, but no picture in {root} has one: expected metadata.jsonl with "
            'lines {"file_name": ..., "text": ...}, or a .txt file beside each picture'
        )
    note = f"{len(missing):,} pictures without a caption get an empty one; the first: "
    return tuple(texts.get(name, "") for name in names), (note + missing[0] if missing else "")


def _folders(names: list[str]) -> set[str]:
    return {parent.as_posix() for name in names for parent in Path(name).parents}


def _table(path: Path) -> Iterable[tuple[str, str]]:
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            file, text = row["file_name"], row["text"]
            if not (isinstance(file, str) and isinstance(text, str)):
                raise TypeError("not texts")
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f'{path}, line {number}: expected {{"file_name": ..., "text": ...}}, '
                f"got {line[:80]!r}"
            ) from error
        yield file, text


def _from_memory(images: np.ndarray, labels: np.ndarray | None) -> cache.Read:
    def read(indices: np.ndarray) -> Batch:
        batch = {"x": images[indices]}
        return batch if labels is None else batch | {"label": labels[indices]}

    return read


def _from_files(
    decode: Callable[[str], np.ndarray],
    names: list[str],
    labels: np.ndarray | None,
    rejects: list[str],
) -> cache.Read:
    """A reader that replaces a picture which breaks during the run by the next whole one."""
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
                        rejects.append(_reject(names[row], error))
                        warnings.warn(
                            f"picture left out: {rejects[-1]}; the next one takes its place",
                            stacklevel=2,
                        )
        raise OSError(f"{tried + 1} pictures in a row cannot be read, the last: {rejects[-1]}")

    def read(indices: np.ndarray) -> Batch:
        rows, images = zip(*(first_whole(int(index)) for index in indices), strict=True)
        rows = np.array(rows, np.int64)
        batch = {"x": np.stack(images), "index": rows}
        return batch if labels is None else batch | {"label": labels[rows]}

    return read


def _notes(
    root: Path,
    names: list[str],
    sizes: list[tuple[int, int]],
    others: int,
    caption_note: str | None,
) -> Iterable[str]:
    kinds = Counter(Path(name).suffix.lower() for name in names)
    heights, widths = zip(*sizes, strict=True)
    yield f"from {root}: " + ", ".join(f"{count:,} {kind}" for kind, count in kinds.most_common())
    yield (
        f"original sizes: height {min(heights)} to {max(heights)}, "
        f"width {min(widths)} to {max(widths)}"
    )
    if len(names) > FULL_CHECK:
        yield f"more than {FULL_CHECK:,} pictures: only their headers were checked"
    if others:
        yield f"{others:,} other files ignored"
    if caption_note:
        yield caption_note
