"""`Dataset`: (seed, step) -> batch, and everything else a run wants to know about its data."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

import numpy as np

from diffax.data import augment, order, picture
from diffax.data.config import DataConfig
from diffax.data.source import Batch, Source

_BLOCK = 256  # examples that one thread decodes at a time when all are wanted


@dataclass(frozen=True)
class Dataset:
    """A set of examples with random access to every batch that a run will ever see.

    Nothing in it moves: the batch of a step is a pure function of (seed, step, batch size), so a
    run continues anywhere at no cost, and no count of workers or processes changes what is seen.
    Every epoch visits every example once; a batch may hold the end of one epoch and the beginning
    of the next.

    Attributes:
        config: what was asked for.
        source: what was found.

    Example:
        >>> from diffax.data import DataConfig, load
        >>> dataset = load(DataConfig(name="digits"))
        >>> batch = dataset.batch(step=1000, seed=0, batch_size=64)
        >>> batch["x"].shape, batch["x"].dtype, batch["label"].shape
        ((64, 8, 8, 1), dtype('uint8'), (64,))
    """

    config: DataConfig
    source: Source

    @property
    def kind(self) -> Literal["image", "points"]:
        """ "image": uint8 [H, W, C]; "points": float32 [D], model space."""
        return self.source.kind

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one example of a batch: (H, W, C) or (D,)."""
        if self.kind == "image" and self.config.size is not None:
            return (*self.config.size, self.source.shape[-1])
        return self.source.shape

    @property
    def size(self) -> int:
        """Number of examples in one epoch."""
        return self.source.size

    @property
    def class_names(self) -> tuple[str, ...]:
        """In the labels' order; empty where there are no classes or `labels` is off."""
        return self.source.classes if self.config.labels else ()

    @property
    def num_classes(self) -> int:
        """Number of classes, 0 where batches carry no label."""
        return len(self.class_names)

    @property
    def captions(self) -> tuple[str, ...] | None:
        """One text an example, which a batch's "index" points into, or None."""
        return self.source.captions

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
            {"x": uint8 [B / P, H, W, C] or float32 [B / P, D], "label": int32 [B / P] where there
            are classes, "index": int32 [B / P] where there are captions}.

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
            out = self._read(order.indices(seed, positions, self.size))
            if self.config.flip or self.config.random_crop > 0:
                chance = [order.chance(seed, int(first), rows) for first in firsts]
                out["x"] = augment.apply(
                    out["x"],
                    np.concatenate(chance),
                    size=self.shape[:2],
                    flip=self.config.flip,
                    random_crop=self.config.random_crop,
                )
        return {key: value.reshape(count, rows, *value.shape[1:]) for key, value in out.items()}

    def examples(self, indices: np.ndarray) -> Batch:
        """Chosen examples in the set's own order, without augmentation.

        Args:
            indices: int [B], each from 0 to `size` - 1.

        Returns:
            As `batch`.
        """
        out = self._read(np.asarray(indices, dtype=np.int64))
        if self.kind == "image":
            out["x"] = picture.fit_all(out["x"], self.shape[:2])
        return out

    def blocks(self, block_size: int = _BLOCK) -> Iterator[Batch]:
        """All examples once, in the set's own order, `block_size` at a time (the last: the rest).

        For evaluation over sets that do not fit in memory.
        """
        starts = range(0, self.size, block_size)
        with ThreadPoolExecutor(max_workers=_workers()) as pool:
            ahead = []
            for start in starts:
                rows = np.arange(start, min(start + block_size, self.size))
                ahead.append(pool.submit(self.examples, rows))
                if len(ahead) > _workers():
                    yield ahead.pop(0).result()
            for future in ahead:
                yield future.result()

    def arrays(self) -> Batch:
        """All examples once, in the set's own order, without augmentation.

        Returns:
            As `batch`, with `size` rows: mind the memory.
        """
        blocks = list(self.blocks())
        return {key: np.concatenate([block[key] for block in blocks]) for key in blocks[0]}

    def coordinates(self, points: np.ndarray) -> np.ndarray:
        """Maps points from model space back to the data's own coordinates.

        Args:
            points: float [..., D].

        Returns:
            float64 [..., D]: points * deviation + mean.
        """
        if self.kind != "points":
            raise ValueError("coordinates are for points; these are images")
        return np.asarray(points, np.float64) * self.source.deviation + self.source.mean

    def summary(self) -> str:
        """The report at the start of a run: count, sizes, classes, rejects."""
        noun = "pictures" if self.kind == "image" else "points"
        sizes = " x ".join(map(str, self.shape))
        count = f"{self.size:,}" if self.source.fresh is None else "fresh at every step:"
        lines = [f"data {self.config.name} ({self.config.split}): {count} {noun} of {sizes}"]
        if self.num_classes:
            lines.append(self._classes())
        if self.captions is not None:
            lines.append(f"captions: {len(self.captions):,}, the first: {self.captions[0]!r}")
        changes = ["mirrored at random"] if self.config.flip else []
        if self.config.random_crop:
            changes.append(f"random crops of up to {self.config.random_crop:.0%} of each side")
        lines.extend(["augmentation: " + ", ".join(changes)] if changes else [])
        if self.kind == "points":
            mean, deviation = (
                ", ".join(f"{v:.4g}" for v in values[:8])
                for values in (self.source.mean, self.source.deviation)
            )
            lines.append(f"model space: (x - [{mean}]) / [{deviation}]")
        elif self.source.cached:
            lines.append(f"kept in memory once decoded: {self.source.cached / 2**20:,.0f} MiB")
        elif self.source.cached == 0:
            lines.append("read and decoded anew in every epoch")
        lines.extend(self.source.notes)
        if self.source.rejects:
            shown = self.source.rejects[:10]
            more = len(self.source.rejects) - len(shown)
            lines.append(f"left out: {len(self.source.rejects):,} unreadable")
            lines.extend(f"  {reject}" for reject in shown)
            lines.extend([f"  ... and {more:,} more"] if more else [])
        return "\n".join(lines)

    def _classes(self) -> str:
        names = list(self.class_names)
        if self.source.labels is not None:
            counts = np.bincount(self.source.labels, minlength=len(names))
            names = [f"{name} ({count:,})" for name, count in zip(names, counts, strict=True)]
        shown = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
        return textwrap.fill(
            f"{self.num_classes} classes: {shown}", width=100, subsequent_indent="  "
        )

    def _read(self, indices: np.ndarray) -> Batch:
        out = dict(self.source.read(indices))
        read = out.pop("index", indices)
        if not self.config.labels:
            out.pop("label", None)
        if self.captions is not None:
            out["index"] = read.astype(np.int32)
        return out


def _workers() -> int:
    return min(16, os.cpu_count() or 1)
