"""A copy of a run's folder in a bucket: fetched before, kept up with every checkpoint.

A run works in a folder of this machine, where files can be locked, added to and renamed. An object
store can do none of this, but it puts an object whole or not at all; so every file is put there
whole, and a checkpoint's manifest last, as on the disk. A copy that was interrupted is at worst
an older state of the run.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from diffax.training.choices import from_json
from diffax.training.config import may_change
from diffax.training.distributed import any_process, by_all, by_first, is_first
from diffax.training.dotted import differences
from diffax.training.keeping import manifest, voice
from diffax.training.keeping.bucket import Bucket
from diffax.training.keeping.layout import (
    CONFIG,
    checkpoint_name,
    checkpoint_of,
    copied,
    finished_steps,
    is_checkpoint,
    is_manifest,
    whole_last,
)
from diffax.training.keeping.signals import StopRequest
from diffax.training.keeping.workdir import previous_config


@contextlib.contextmanager
def mirrored(
    workdir: Path, address: str | None, stop: StopRequest, *, seen: bool = True
) -> Iterator[Mirror | None]:
    """What is there comes here first; what is whole here goes there, in the end all of it.

    Args:
        workdir: the run's folder, on this machine.
        address: gs://BUCKET/RUN, s3://BUCKET/RUN or another address that fsspec knows; None: no
            copy.
        stop: a request ends the first copying at once; the last is brought to its end.
        seen: whether this process sees the folder of process 0.

    Returns:
        The copy, a callback of the run's training; None without an address.

    Raises:
        ValueError: processes that do not see one folder, and no address; an address that cannot be
            reached, a missing package, a copy that is ahead of the folder, or another run's.
        OSError: training has ended, but its last files could not be copied; they are here.
    """
    apart = any_process(not seen)
    if address is None:
        if apart:
            raise ValueError(
                f"not all processes see one --workdir {workdir}; give a folder of a file system "
                "that they share, or an address as --workdir or --mirror: gs://BUCKET/RUN"
            )
        yield None
        return
    made: list[Mirror] = []
    with stop.at_once():
        by_all(lambda: made.append(Mirror(workdir, address, apart=apart, seen=seen)))
        mirror = made[0]
        mirror.fetched = by_first(mirror.begin)
        by_all(mirror.join)
    if not is_first():
        yield mirror
        return
    try:
        yield mirror
    except BaseException:
        with contextlib.suppress(OSError):  # what ended the run is what is told
            mirror.close()
        raise
    mirror.close()


class Mirror:
    """The copy of one run's folder; a callback of its training.

    Where processes do not see one folder, process 0's is the run's and the others fetch from the
    copy what they need of it: the config, and the checkpoint to go on from.

    Args:
        workdir: the run's folder.
        address: of the copy.
        apart: whether some process does not see the folder of process 0.
        seen: whether this one does.

    Raises:
        ValueError: no address, or the package for such addresses is missing.

    Example:
        >>> Mirror(Path("runs/digits"), "runs/copy")
        Traceback (most recent call last):
        ValueError: runs/copy is no address; expected for instance gs://BUCKET/RUN
    """

    def __init__(
        self, workdir: Path, address: str, *, apart: bool = False, seen: bool = True
    ) -> None:
        self._bucket = Bucket(address)
        self.workdir, self.address = Path(workdir), self._bucket.address
        self.apart, self.seen, self.fetched = apart, seen, 0
        self._sent: dict[str, tuple[int, int]] = {}  # size and time of what was sent
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="diffax-mirror")
        self._sending: Future | None = None

    # ------------------------------------------------------------ there -> here

    def begin(self) -> int:
        """Makes folder and copy the same, in process 0; how many files came.

        Raises:
            ValueError, OSError: as `fetch` and `send`.
        """
        count = self.fetch()
        if not count and self.apart and (self.workdir / CONFIG).exists():
            self.send()
        return count

    def join(self) -> None:
        """Makes the folder of a process that does not see process 0's the same run's.

        Raises:
            ValueError: it holds another run, or is ahead of the copy.
        """
        if self.seen:
            return
        there, own = self._bucket.files(), previous_config(self.workdir)
        if own is not None:
            if CONFIG not in there:
                raise ValueError(
                    f"{self.workdir} holds a run, and {self.address} does not; give another "
                    "--workdir"
                )
            self._check_same()
            ahead, common = _newest(self._own_files()), _newest(there)
            if ahead is not None and (common is None or ahead > common):
                raise ValueError(
                    f"{self.workdir} is at step {ahead}, {self.address} at step {common or 0}; "
                    "make its machine process 0, or give an empty --workdir"
                )
        if CONFIG in there:
            self._bucket.get(CONFIG, self.workdir)

    def bring(self, step: int) -> None:
        """Puts a checkpoint of process 0's into this process's own folder; others make room.

        Raises:
            ValueError: the copy cannot be read, or has no such checkpoint that is whole.
        """
        if self.seen:
            return
        there = self._bucket.files()
        name = checkpoint_name(step)
        folder, mark = self.workdir / name, f"{name}/{manifest.NAME}"
        if mark not in there:
            raise ValueError(f"{self.address} has no checkpoint of step {step}")
        if not self._is_here(mark) or manifest.problems(folder):
            files = [path for path in there if path.startswith(f"{name}/")]
            for path in sorted(files, key=whole_last):
                self._bucket.get(path, self.workdir)
            for problem in manifest.problems(folder):
                raise ValueError(f"{self.address}/{name} is broken: {problem}")
        for old in _checkpoints(self._own_files()) - _checkpoints(there):
            shutil.rmtree(self.workdir / old, ignore_errors=True)

    def _is_here(self, name: str) -> bool:
        """Whether a file is the same here and there."""
        path = self.workdir / name
        return path.is_file() and path.read_bytes() == self._bucket.read(name)

    def fetch(self) -> int:
        """Brings the copy into a folder that holds no run yet; how many files.

        Raises:
            ValueError: the place cannot be read; or the folder holds a run, and the copy is ahead
                of it or another run's.
        """
        there = self._bucket.files()
        if CONFIG not in there:
            if _newest(there) is not None:
                raise ValueError(f"{self.address} holds checkpoints but no {CONFIG}")
            return 0
        if (self.workdir / CONFIG).exists():
            self._check_ours(there)
            return 0
        # In this order a fetch that is interrupted leaves nothing that looks whole.
        names = sorted(copied(there), key=whole_last)
        for name in names:
            self._bucket.get(name, self.workdir)
        return len(names)

    def _check_ours(self, there: dict[str, int]) -> None:
        """Refuses to overwrite what is ahead of the folder's run, or of another one."""
        ahead, own = _newest(there), _newest(self._own_files())
        if ahead is not None and (own is None or ahead > own):
            raise ValueError(
                f"{self.address} is at step {ahead}, {self.workdir} at step {own or 0}: another "
                "machine went on; give an empty --workdir, which goes on from there"
            )
        self._check_same()

    def _check_same(self) -> None:
        copied = json.loads(self._bucket.read(CONFIG))["config"]
        begun = json.loads((self.workdir / CONFIG).read_bytes())["config"]
        changed = [n for n in differences(from_json(copied), from_json(begun)) if not may_change(n)]
        if changed:
            raise ValueError(
                f"{self.address} is the copy of another run ({changed[0]} is another); "
                "give another --mirror"
            )

    # ------------------------------------------------------------ here -> there

    def on_save(self, step: int, folder: Path) -> None:
        """Copies in the background; what fails is said, and tried again at the next checkpoint."""
        if not is_first():
            return
        if self._sending is not None and not self._sending.done():
            return  # all that is new goes along with the next one
        self._sending = self._worker.submit(self._send_or_say)

    def close(self) -> None:
        """Copies what is left, and waits for it.

        Raises:
            OSError: it cannot be copied; it is here.
        """
        self._worker.shutdown(wait=True)
        if (self.workdir / CONFIG).exists():
            self.send()

    def send(self) -> None:
        """Copies what is new; checkpoints that are gone here go there, too.

        Raises:
            OSError: something cannot be copied.
        """
        try:
            there = self._bucket.files()
            here = copied(self._own_files())
            # Lines of metrics before the checkpoint that they lead to, manifests after the rest.
            for name in sorted(here, key=lambda n: (is_checkpoint(n), is_manifest(n), n)):
                self._put(name, there)
            gone = {name for name in there if is_checkpoint(name)} - set(self._own_files())
            for name in sorted(gone, key=lambda name: not is_manifest(name)):
                self._bucket.remove(name)
        except Exception as error:  # each store has errors of its own
            raise OSError(
                f"{self.workdir} could not be copied to {self.address}: "
                f"{voice.one_line(error) or type(error).__name__}"
            ) from error

    def _send_or_say(self) -> None:
        try:
            self.send()
        except OSError as error:
            voice.warn(f"{error}; going on")

    def _put(self, name: str, there: dict[str, int]) -> None:
        path = self.workdir / name
        try:
            status = path.stat()
            if is_checkpoint(name) and there.get(name) == status.st_size:
                return  # they never change
            mark = status.st_size, status.st_mtime_ns
            if self._sent.get(name) != mark:
                self._bucket.put(path, name)
                self._sent[name] = mark
        except FileNotFoundError:
            if path.exists():
                raise  # of the store

    # ------------------------------------------------------------ lists

    def _own_files(self) -> dict[str, int]:
        files = (path for path in self.workdir.rglob("*") if path.is_file())
        sizes = {}
        for path in files:
            with contextlib.suppress(FileNotFoundError):  # removed this moment
                sizes[path.relative_to(self.workdir).as_posix()] = path.stat().st_size
        return sizes


def _checkpoints(names: Iterable[str]) -> set[str]:
    """The folders of all checkpoints, whole or not."""
    return {checkpoint_of(name) for name in names if is_checkpoint(name)}


def _newest(names: Iterable[str]) -> int | None:
    """The step of the newest finished checkpoint."""
    return max(finished_steps(names), default=None)
