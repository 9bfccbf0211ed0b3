"""`Dataset`: (seed, step) -> batch, and everything else a run wants to know about its data."""

from __future__ import annotations

import functools
import os
import textwrap
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from diffax.data import augment, order, pixels
from diffax.data.options import ImageOptions
from diffax.data.source import Batch, Source
from diffax.data.spec import Spec
from diffax.printable import printable

IMAGES = {"x", "control"}  # columns that are cut and mirrored together
_BLOCK = 256  # examples that one thread decodes at a time when all are wanted


@dataclass(frozen=True)
class Dataset:
    """A set of examples with random access to every batch that a run will ever see.

    Nothing in it moves: the batch of a step is a pure function of (seed, step, batch size), so a
    run continues anywhere at no cost, and no count of workers or processes changes what is seen.
    Every epoch visits every example once; a batch may hold the end of one epoch and the beginning
    of the next.

    Batches hold raw data: images uint8 [H, W, C], all else float32 in its own coordinates.

    Attributes:
        title: what the report calls it.
        source: what was found.
        options: what is done to images.

    Raises:
        ValueError: options for images where there are none.

    Example:
        >>> from diffax.data import Digits
        >>> dataset = Digits().load()
        >>> batch = dataset.batch(step=1000, seed=0, batch_size=64)
        >>> batch["x"].shape, batch["x"].dtype, batch["label"].shape
        ((64, 8, 8, 1), dtype('uint8'), (64,))
        >>> dataset.spec.columns["x"]
        Column(shape=(8, 8, 1), dtype='uint8')
    """

    title: str
    source: Source
    options: ImageOptions = ImageOptions()

    def __post_init__(self) -> None:
        """Checks that what is asked for can be done to this kind of data."""
        asked = self.options.flip or self.options.random_crop or self.options.image_size
        if asked and not self.spec.is_image:
            column = self.source.columns["x"]
            raise ValueError(
                "data.flip, data.random_crop and data.image_size are for images (uint8 "
                f"[H, W, C]); these data are {column.dtype} {list(column.shape)}"
            )

    @functools.cached_property
    def spec(self) -> Spec:
        """What batches hold: columns, size, class names, mean and standard deviation."""
        source, columns = self.source, dict(self.source.columns)
        # The source keeps more pixels for random crops; in buckets every image has its own size.
        if self.options.size is not None and source.arrange is None:
            for name in IMAGES & columns.keys():
                shape = (*self.options.size, columns[name].shape[-1])
                columns[name] = replace(columns[name], shape=shape)
        return Spec(
            columns,
            source.size,
            source.class_names,
            source.mean,
            source.std,
            rate=source.rate,
            alphabet=source.alphabet,
        )

    def batch(
        self,
        step: int,
        *,
        seed: int,
        batch_size: int,
        process_index: int = 0,
        process_count: int = 1,
    ) -> Batch:
        """The batch of one training step.

        Args:
            step: 0, 1, 2, ...
            seed: of the data order and the augmentations.
            batch_size: of the whole batch, over all processes.
            process_index: this process.
            process_count: processes P; the p-th gets rows p * B / P to (p + 1) * B / P - 1.

        Returns:
            The columns of `spec`: {"x": uint8 [B / P, H, W, C] or float32 [B / P, ...], "label":
            int32 [B / P] where there are classes, "caption": str [B / P] where there are texts}.

        Raises:
            ValueError: a negative step or seed, or a batch that the processes cannot share evenly.
        """
        stack = self.batches(
            step,
            1,
            seed=seed,
            batch_size=batch_size,
            process_index=process_index,
            process_count=process_count,
        )
        return {key: value[0] for key, value in stack.items()}

    def batches(
        self,
        step: int,
        count: int,
        *,
        seed: int,
        batch_size: int,
        process_index: int = 0,
        process_count: int = 1,
    ) -> Batch:
        """The batches of several steps in a row, for several training steps in one call.

        Args:
            step: the first of them.
            count: how many, k.
            seed, batch_size, process_index, process_count: as for `batch`.

        Returns:
            As `batch`, every array with a leading axis [k].
        """
        if step < 0 or count < 1:
            raise ValueError(f"expected step >= 0 and count >= 1, got {step} and {count}")
        if batch_size < 1 or process_count < 1 or batch_size % process_count:
            raise ValueError(
                f"expected a batch size that {process_count} processes share evenly, "
                f"got {batch_size}"
            )
        if not 0 <= process_index < process_count:
            raise ValueError(f"expected a process below {process_count}, got {process_index}")
        rows = batch_size // process_count
        mine = slice(process_index * rows, (process_index + 1) * rows)
        steps = range(step, step + count)
        if self.source.fresh is not None:
            drawn = [self.source.fresh(seed, s, batch_size) for s in steps]
            out = {key: np.concatenate([one[key][mine] for one in drawn]) for key in drawn[0]}
        else:
            firsts = np.array([s * batch_size + mine.start for s in steps], dtype=np.int64)
            positions = (firsts[:, None] + np.arange(rows)).ravel()
            out = dict(self.source.read(self._rows(seed, steps, batch_size, positions, mine)))
            if self.options.flip or self.options.random_crop > 0:
                chance = [order.chance(seed, int(first), rows) for first in firsts]
                height, width = self.options.size or out["x"].shape[1:3]
                if self.source.arrange is not None:
                    height, width = out["x"].shape[1:3]
                for name in IMAGES & out.keys():  # a control image in the same way as its partner
                    out[name] = augment.apply(
                        out[name],
                        np.concatenate(chance),
                        size=(height, width),
                        flip=self.options.flip,
                        random_crop=self.options.random_crop,
                    )
        return {key: value.reshape(count, rows, *value.shape[1:]) for key, value in out.items()}

    def _rows(
        self, seed: int, steps: range, batch_size: int, positions: np.ndarray, mine: slice
    ) -> np.ndarray:
        """Numbers of the examples of some steps."""
        source = self.source
        if source.arrange is None:
            return order.indices(seed, positions, source.size, source.group)
        return np.concatenate([source.arrange(seed, s, batch_size)[mine] for s in steps])

    def examples(self, indices: np.ndarray) -> Batch:
        """Chosen examples in the set's own order, without augmentation.

        Args:
            indices: int [B], each from 0 to `spec.size` - 1.

        Returns:
            As `batch`.
        """
        out = dict(self.source.read(np.asarray(indices, dtype=np.int64)))
        size = self.options.size
        if self.source.arrange is not None:
            size = (self.spec.shape[0], self.spec.shape[1])
        return out | {name: pixels.fit_all(out[name], size) for name in IMAGES & out.keys()}

    def blocks(self, block_size: int = _BLOCK) -> Iterator[Batch]:
        """All examples once, in the set's own order, `block_size` at a time (the last: the rest).

        For evaluation over sets that do not fit in memory.
        """
        starts = range(0, self.spec.size, block_size)
        with ThreadPoolExecutor(max_workers=_workers()) as pool:
            ahead = []
            for start in starts:
                rows = np.arange(start, min(start + block_size, self.spec.size))
                ahead.append(pool.submit(self.examples, rows))
                if len(ahead) > _workers():
                    yield ahead.pop(0).result()
            for future in ahead:
                yield future.result()

    def arrays(self) -> Batch:
        """All examples once, in the set's own order, without augmentation.

        Returns:
            As `batch`, with `spec.size` rows: mind the memory.
        """
        blocks = list(self.blocks())
        return {key: np.concatenate([block[key] for block in blocks]) for key in blocks[0]}

    def summary(self) -> str:
        """The report at the start of a run: count, sizes, classes, rejects."""
        spec, source, options = self.spec, self.source, self.options
        noun = "images" if spec.is_image else "vectors" if len(spec.shape) == 1 else "arrays"
        noun = "texts" if spec.alphabet else noun
        sizes = " x ".join(map(str, spec.shape))
        count = f"{spec.size:,}" if source.fresh is None else "fresh at every step:"
        lines = [printable(f"data {self.title}: {count} {noun} of {sizes}")]
        lines.extend(self._classes())
        changes = ["mirrored at random"] if options.flip else []
        if options.random_crop:
            changes.append(f"random crops of up to {options.random_crop:.0%} of each side")
        lines.extend(["augmentation: " + ", ".join(changes)] if changes else [])
        if spec.mean is not None and spec.std is not None:
            lines.append(f"mean {_few(spec.mean)}, standard deviation {_few(spec.std)}")
        if source.cached:
            lines.append(f"kept in memory once decoded: {source.cached / 2**20:,.0f} MiB")
        elif source.cached == 0:
            lines.append("read and decoded anew in every epoch")
        lines.extend(map(printable, source.notes))
        if source.rejects:
            more = len(source.rejects) - 10
            lines.append(f"left out: {len(source.rejects):,} unreadable")
            lines.extend(f"  {printable(reject)}" for reject in source.rejects[:10])
            lines.extend([f"  ... and {more:,} more"] if more > 0 else [])
        return "\n".join(lines)

    def _classes(self) -> list[str]:
        names = [printable(name) for name in self.spec.class_names]
        if not names:
            return []
        if self.source.labels is not None:
            counts = np.bincount(self.source.labels, minlength=len(names))
            names = [f"{name} ({count:,})" for name, count in zip(names, counts, strict=True)]
        shown = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
        text = f"{len(names)} classes: {shown}"
        return textwrap.wrap(text, width=100, subsequent_indent="  ")


def _few(values: tuple[float, ...]) -> str:
    return "[" + ", ".join(f"{v:.4g}" for v in values[:8]) + (", ...]" if values[8:] else "]")


def _workers() -> int:
    return min(16, os.cpu_count() or 1)
