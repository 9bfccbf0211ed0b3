"""Checkpoints, saved in the background and checked before use. Only this file knows Orbax.

checkpoints/00001000/state/     what Orbax writes: parameters, optimizer, every average, counters
checkpoints/00001000/record.json    resolved config, data position, facts of the data, metrics
checkpoints/00001000/manifest.json  checksums of all the rest, written last
"""

from __future__ import annotations

import contextlib
import errno
import functools
import json
import os
import re
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from diffax import atomic
from diffax.training.distributed import agree, by_all, is_first
from diffax.training.keeping import manifest, reading, silence
from diffax.training.keeping.copies import gathered, settled
from diffax.training.keeping.keep import Keep, Record
from diffax.training.keeping.parts import WEIGHTS, average_part, parts, shapes, state_of
from diffax.training.state import TrainState

if TYPE_CHECKING:
    import orbax.checkpoint as ocp

# What a record must hold, and may; the rest is the caller's.
_REQUIRED = {"step": int, "arrays": dict[str, list]}
_OPTIONAL = {
    "config": dict,
    "facts": dict,
    "data": dict[str, int],
    "window": dict[str, list],
    "metrics": dict[str, float],
    "averages": list[str],
    "frozen": list[dict],
}
_REFERENCE = {"source": str, "fingerprint": str}
_DEFAULTS = {"metrics": {}, "frozen": [], "window": {}}

_STEP = re.compile("[0-9]{8,18}")  # the name of a checkpoint's folder

silence.of_storage()  # of a save that failed, one line is reported here


class SaveError(OSError):
    """A checkpoint could not be written."""


class CorruptCheckpoint(ValueError):
    """Checkpoints are there, and none that may be used is whole."""


class Checkpoints:
    """The checkpoints of a run.

    Args:
        folder: of all of them; made when the first one is saved.
        keep: which of them stay; None: the newest three.
        report: told, in one line, of everything that is wrong and of what is done about it.
        bring: where processes do not see one folder: puts a checkpoint of process 0's, by its step,
            into this process's own; process 0 then saves alone. None: all save together.
    """

    def __init__(
        self,
        folder: Path,
        keep: Keep | None = None,
        report: Callable[[str], None] = print,
        bring: Callable[[int], None] | None = None,
    ) -> None:
        self.folder = Path(folder).absolute()
        self.keep = keep = keep or Keep()
        self._report = report
        self._bring = bring
        self._orbax: ocp.AsyncCheckpointer | None = None
        self._thread: threading.Thread | None = None
        self._failure: str | None = None
        self._broken: set[int] = set()
        # A metric that is known may well be missing in a record: it is not computed at every step.
        self._best_checked = keep.best is None or keep.best in keep.better

    # ------------------------------------------------------------ saving

    def save(self, state: TrainState, record: Record) -> None:
        """Saves a state in the background; comes back as soon as the state may be donated.

        A save that fails is reported, leaves nothing behind and touches no older checkpoint; the
        next one tries again. `wait` says how it went.

        Args:
            state: on one device or on many.
            record: plain data that belongs to it; "metrics" are numbers by name, "frozen" a list
                of references, see `frozen`.
        """
        self.settle()
        self._check_best(record.get("metrics", {}))
        step = int(state.step)
        folder = self.path(step)
        if not self._make_room(step, state):
            return
        record = _DEFAULTS | record | {"step": step, "arrays": shapes(state)}
        items = parts(settled(state))
        if self._bring is not None:
            items = gathered(items)
            if not is_first():
                return
        import orbax.checkpoint as ocp

        try:
            if self._orbax is None:
                self._orbax = _saver(alone=self._bring is not None)
            self._orbax.save(
                folder / "state",
                args=ocp.args.Composite(
                    **{name: ocp.args.StandardSave(item) for name, item in items.items()}
                ),
            )
        except Exception as error:
            self._failed(step, error)
            return
        self._thread = threading.Thread(
            target=self._finish, args=(self._orbax, step, folder, record), name="diffax-checkpoint"
        )
        self._thread.start()

    def _check_best(self, metrics: dict[str, float]) -> None:
        """Says once if there is no such metric as `keep.best`, as soon as there are metrics."""
        if self._best_checked or not metrics:
            return
        self._best_checked = True
        if self.keep.best not in metrics:
            self._report(
                f"keep_best: there is no metric {self.keep.best!r}, so no checkpoint is kept for "
                f"it; there are: {', '.join(metrics)}"
            )

    def _make_room(self, step: int, state: TrainState) -> bool:
        """Whether to write a step's folder, which is then there and empty; process 0 decides."""
        folder, wanted = self.path(step), True
        if is_first():
            if manifest.is_finished(folder) and step not in self._broken:
                self._failure, wanted = None, False
            else:
                try:
                    shutil.rmtree(folder, ignore_errors=True)
                    folder.mkdir(parents=True)
                    _check_space(folder, state)
                except OSError as error:
                    self._failed(step, error)
                    wanted = False
        return bool(agree(np.int32(wanted)))

    def wait(self) -> None:
        """Waits until the last save has ended.

        Raises:
            SaveError: it failed.
        """
        self.settle()
        if self._failure is not None:
            raise SaveError(self._failure)

    @property
    def busy(self) -> bool:
        """Whether something is being written."""
        return self._thread is not None and self._thread.is_alive()

    def settle(self) -> None:
        """Waits until nothing is being written, however it went."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def close(self) -> None:
        """Waits for what is under way and ends the helper threads."""
        self.settle()
        self._renew()

    def _renew(self) -> None:
        """Lets go of Orbax's checkpointer: one that failed would fail again, also in `close`."""
        before, self._orbax = self._orbax, None
        if before is not None:
            with contextlib.suppress(Exception):  # reported already
                before.close()

    def _finish(
        self, saver: ocp.AsyncCheckpointer, step: int, folder: Path, record: Record
    ) -> None:
        try:
            saver.wait_until_finished()
            if is_first():
                content = json.dumps(record).encode()
                atomic.write(folder / "record.json", content, durable=True)
                manifest.write(folder)
                self._broken.discard(step)
                self._prune(step)
            self._failure = None
        except Exception as error:
            self._failed(step, error)

    def _failed(self, step: int, error: Exception) -> None:
        self._renew()
        if is_first():
            shutil.rmtree(self.path(step), ignore_errors=True)
        whole = max(self.finished(), default=None)
        rest = "there is no older one" if whole is None else f"step {whole}'s is whole"
        self._failure = (
            f"checkpoint of step {step} could not be saved in {self.folder}: "
            f"{_cause(error)}; {rest}"
        )
        self._report(self._failure)

    def _prune(self, newest: int) -> None:
        records = {}
        for step in self.finished():
            try:
                records[step] = self.record(step)
            except (OSError, ValueError):
                continue  # damaged: not ours to delete
        wanted = self.keep.wanted(records)
        for step in records:
            if step not in wanted:
                # Without its manifest it counts as unfinished, whenever we are stopped in here.
                (self.path(step) / manifest.NAME).unlink()
                shutil.rmtree(self.path(step), ignore_errors=True)
        for step in set(self.steps()) - set(self.finished()):
            if step < newest:
                shutil.rmtree(self.path(step), ignore_errors=True)

    # ------------------------------------------------------------ restoring

    def steps(self) -> list[int]:
        """Steps of all checkpoints, whole or not, in order."""
        if not self.folder.is_dir():
            return []
        names = [p.name for p in self.folder.iterdir() if p.is_dir()]
        return sorted(int(name) for name in names if _STEP.fullmatch(name))

    def newest_whole(self, *, fall_back: bool = True) -> int | None:
        """The newest checkpoint whose every checksum is right; None where none was ever finished.

        Args:
            fall_back: whether an older one may stand in for a broken one, which is reported.

        Raises:
            CorruptCheckpoint: the newest is broken and `fall_back` is off, or all are broken.
            ValueError: it could not be brought to every process.
        """
        chosen, message = -1, ""
        if is_first():
            try:
                chosen = self._newest_whole(fall_back)
            except CorruptCheckpoint as error:
                chosen, message = -2, str(error)
        chosen = int(agree(np.int32(chosen)))
        if chosen == -2:
            raise CorruptCheckpoint(message or "process 0 found no whole checkpoint")
        if chosen != -1 and self._bring is not None:
            by_all(functools.partial(self._bring, chosen))
        return None if chosen == -1 else chosen

    def _newest_whole(self, fall_back: bool) -> int:
        broken = []
        for step in reversed(self.steps()):
            folder = self.path(step)
            if not manifest.is_finished(folder):
                self._report(
                    f"checkpoint {folder} was never finished (no {manifest.NAME}): left out"
                )
                continue
            problems = self.problems(step)
            if not problems:
                return step
            self._broken.add(step)
            more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
            broken.append(f"checkpoint {folder} is broken: {problems[0]}{more}")
            if not fall_back:
                raise CorruptCheckpoint(broken[-1])
            self._report(broken[-1])
        if broken:
            raise CorruptCheckpoint(
                f"no checkpoint in {self.folder} is whole; the newest: {broken[0]}; restore the "
                "files, or start anew in another --workdir"
            )
        return -1

    def problems(self, step: int) -> list[str]:
        """What is wrong with a checkpoint, one line a file; nothing where it is whole."""
        found = manifest.problems(self.path(step))
        if not found:
            try:
                self.record(step)
            except (OSError, ValueError) as error:
                found = [str(error)]
        return found

    def record(self, step: int) -> Record:
        """The plain data that was saved with a state, its own fields of the right types.

        Raises:
            ValueError: they are not, or it is the record of another step.
        """
        path = self.path(step) / "record.json"
        record = _DEFAULTS | reading.read_object(path, _REQUIRED, _OPTIONAL)
        for entry in record["frozen"]:
            reading.check_object(entry, _REFERENCE, where=f"{path}: frozen")
        if record["step"] != step:
            raise ValueError(
                f"record.json is of step {record['step']}, its folder's name says {step}"
            )
        return record

    def restore(self, step: int, abstract: TrainState) -> TrainState:
        """Reads a state, onto the devices that `abstract` names, whichever it was saved from.

        Args:
            step: of a checkpoint that was found whole.
            abstract: shapes, types and places.

        Raises:
            ValueError: its arrays are not those of the config.
        """
        self._check_shapes(step, shapes(abstract))
        return state_of(self._read(step, parts(abstract)), abstract)

    def restore_params(self, step: int, abstract: Any, average: str | None) -> Any:
        """Reads one tree of parameters alone.

        Args:
            step: of a checkpoint that was found whole.
            abstract: the parameters' shapes, types and places.
            average: name of an average; None: the parameters themselves.
        """
        part = WEIGHTS if average is None else average_part(average)
        return self._read(step, {part: abstract})[part]

    def _read(self, step: int, items: dict[str, Any]) -> dict[str, Any]:
        import orbax.checkpoint as ocp

        restored = ocp.Checkpointer(ocp.CompositeCheckpointHandler()).restore(
            self.path(step) / "state",
            args=ocp.args.Composite(
                **{name: ocp.args.StandardRestore(item) for name, item in items.items()}
            ),
        )
        # XLA may donate what it made itself, not a buffer that belongs to the reader.
        return {name: settled(restored[name]) for name in items}

    def _check_shapes(self, step: int, wanted: dict[str, list]) -> None:
        saved = self.record(step)["arrays"]
        for name in [*wanted, *(n for n in saved if n not in wanted)]:
            if saved.get(name) != wanted.get(name):
                raise ValueError(
                    f"checkpoint {self.path(step)} does not fit this config: {name} is "
                    f"{_shape_text(saved.get(name))} there and {_shape_text(wanted.get(name))} "
                    "here; continue with the config it was saved with, or use another --workdir"
                )

    def path(self, step: int) -> Path:
        """The folder of a step's checkpoint."""
        return self.folder / f"{step:08d}"

    def finished(self) -> list[int]:
        """Steps of the checkpoints that were written to their end, in order."""
        return [step for step in self.steps() if manifest.is_finished(self.path(step))]


def _saver(*, alone: bool) -> ocp.AsyncCheckpointer:
    """Orbax's, of all processes together or of process 0 that asks no other."""
    import orbax.checkpoint as ocp

    if not alone:
        return ocp.AsyncCheckpointer(ocp.CompositeCheckpointHandler())
    options = ocp.options.MultiprocessingOptions(
        primary_host=0, active_processes={0}, barrier_sync_key_prefix="alone"
    )
    handler = ocp.CompositeCheckpointHandler(
        composite_options=ocp.CompositeOptions(multiprocessing_options=options)
    )
    return ocp.AsyncCheckpointer(handler, multiprocessing_options=options)


def _check_space(folder: Path, state: TrainState) -> None:
    """Refuses to begin what cannot end."""
    arrays = [leaf for tree in parts(state).values() for leaf in jax.tree.leaves(tree)]
    needed = sum(leaf.nbytes for leaf in arrays) + 4096 * len(arrays)
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise OSError(
            errno.ENOSPC,
            f"disk full: {needed / 2**20:,.1f} MiB needed, {free / 2**20:,.1f} MiB free",
        )


def _cause(error: Exception) -> str:
    """Why a save failed, in a few words."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    # TensorStore's message names every file on its way and ends with the system's number.
    number = re.search(r"os_error_code='(\d+)'", str(error))
    text = os.strerror(int(number[1])) if number else str(error) or type(error).__name__
    return " ".join(text.split())[:300]


def _shape_text(shape: list | None) -> str:
    return "missing" if shape is None else "".join(map(str, reversed(shape)))
