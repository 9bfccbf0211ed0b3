"""Runs at an address, gs://BUCKET/RUN: in a folder of this machine, as long as Python runs."""

from __future__ import annotations

import atexit
import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from diffax.training.keeping import voice
from diffax.training.keeping.bucket import Bucket, is_address
from diffax.training.keeping.layout import (
    CHECKPOINTS,
    CONFIG,
    checkpoint_name,
    finished_steps,
    is_checkpoint,
    whole_last,
)
from diffax.training.keeping.workdir import check_workdir

_READ = (CONFIG, "summary.json", "metrics.jsonl")  # besides a checkpoint


@contextlib.contextmanager
def work_folder(workdir: str | Path, mirror: str | None) -> Iterator[tuple[Path, str | None]]:
    """Where a run works on this machine, and the address of its copy.

    Args:
        workdir: a folder, or an address: then a temporary folder takes its place, which is removed
            when Python ends, unless training raised something and checkpoints are in it.
        mirror: address of a folder's copy; None: no copy.

    Raises:
        ValueError: two addresses, a missing package; or no folder, as `check_workdir`.
    """
    if not is_address(str(workdir)):
        yield check_workdir(workdir), mirror
        return
    if mirror is not None:
        raise ValueError(f"--workdir {workdir} is kept there, and --mirror is another place")
    Bucket(str(workdir))  # refused before anything is made
    folder = Path(tempfile.mkdtemp(prefix="diffax-"))
    try:
        yield folder, str(workdir)
    except BaseException:
        if (folder / CHECKPOINTS).exists():
            voice.warn(f"the run's files on this machine stay in {folder}")
        else:
            _remove(folder)
        raise
    atexit.register(_remove, folder)


def begun_in(workdir: str | Path) -> Path:
    """The folder itself; of an address, one that holds the run's config, if there is a run."""
    if not is_address(str(workdir)):
        return Path(workdir)
    bucket = Bucket(str(workdir))
    return _got(bucket, [name for name in bucket.files() if name == CONFIG])


def fetched(address: str, step: int | None = None) -> Path:
    """What a run's model is read from, in a folder that is removed when Python ends.

    Args:
        address: of the run.
        step: of the checkpoint; None: the newest.

    Raises:
        FileNotFoundError: no run, or no such checkpoint.
        ValueError: it cannot be read.
    """
    bucket, there = _opened(address)
    steps = finished_steps(there)
    if not steps:
        raise FileNotFoundError(f"{address} holds no finished checkpoint; continue its training")
    if step is not None and step not in steps:
        known = ", ".join(map(str, steps))
        raise FileNotFoundError(f"{address} has no checkpoint of step {step}; there are: {known}")
    name = checkpoint_name(steps[-1] if step is None else step)
    wanted = [path for path in there if path in _READ or path.startswith(f"{name}/")]
    return _got(bucket, wanted)


def pictured(address: str) -> Path:
    """All of a run's files but its checkpoints, as `fetched`."""
    bucket, there = _opened(address)
    return _got(bucket, [path for path in there if not is_checkpoint(path)])


def _opened(address: str) -> tuple[Bucket, dict[str, int]]:
    bucket = Bucket(address)
    there = bucket.files()
    if CONFIG not in there:
        raise FileNotFoundError(
            f"{address} holds no run; train first: python train.py --config NAME "
            f"--workdir {address}"
        )
    return bucket, there


def _got(bucket: Bucket, names: list[str]) -> Path:
    folder = Path(tempfile.mkdtemp(prefix="diffax-"))
    atexit.register(_remove, folder)
    for name in sorted(names, key=whole_last):
        bucket.get(name, folder)
    return folder


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
