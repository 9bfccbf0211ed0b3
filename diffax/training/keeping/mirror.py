"""A copy of a run's folder in a bucket: fetched before, kept up with every checkpoint.

A run works in a folder of this machine, where files can be locked, added to and renamed. An object
store can do none of this, but it puts an object whole or not at all; so every file is put there
whole, and a checkpoint's manifest last, as on the disk. A copy that was interrupted is at worst
an older state of the run.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any

from diffax.training.choices import from_json
from diffax.training.config import may_change
from diffax.training.distributed import by_first, is_first
from diffax.training.dotted import differences
from diffax.training.keeping import lock, manifest, voice

_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+://.+")
_PACKAGES = {"gs": "diffax[gcs]", "gcs": "diffax[gcs]", "s3": "diffax[s3]"}
_CONFIG = "config.json"  # without it a folder is no run's
_OWN = (lock.NAME, "error.log")  # of this machine alone
_CHECKPOINTS = "checkpoints"


@contextlib.contextmanager
def mirrored(workdir: Path, address: str | None) -> Iterator[tuple[Any, ...]]:
    """What is there comes here first; what is whole here goes there, in the end all of it.

    Args:
        workdir: the run's folder, on this machine; where several processes share a run, on a
            file system that all of them see: process 0 copies.
        address: gs://BUCKET/RUN, s3://BUCKET/RUN or another address that fsspec knows; None: no
            copy.

    Returns:
        The run's callbacks: one, or none.

    Raises:
        ValueError: an address that cannot be reached, a missing package, a copy that is ahead of
            the folder, or another run's.
        OSError: training has ended, but its last files could not be copied; they are here.
    """
    if address is None:
        yield ()
        return
    mirror: list[Mirror] = []

    def fetch() -> int:
        mirror.append(Mirror(workdir, address))
        count = mirror[0].fetch()
        if count:
            voice.say(f"{count} files fetched from {address}")
        return 0

    by_first(fetch)
    if not is_first():
        yield ()
        return
    try:
        yield (mirror[0],)
    except BaseException:
        with contextlib.suppress(OSError):  # what ended the run is what is told
            mirror[0].close()
        raise
    mirror[0].close()


class Mirror:
    """The copy of one run's folder; a callback of its training.

    Args:
        workdir: the run's folder.
        address: of the copy.

    Raises:
        ValueError: no address, or the package for such addresses is missing.

    Example:
        >>> Mirror(Path("runs/digits"), "runs/copy")
        Traceback (most recent call last):
        ValueError: --mirror runs/copy is no address; expected for instance gs://BUCKET/RUN
    """

    def __init__(self, workdir: Path, address: str) -> None:
        if not _ADDRESS.fullmatch(address):
            raise ValueError(
                f"--mirror {address} is no address; expected for instance gs://BUCKET/RUN"
            )
        self.workdir, self.address = Path(workdir), address
        self._store, self._root = _store(address)
        self._sent: dict[str, tuple[int, int]] = {}  # size and time of what was sent
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="diffax-mirror")
        self._sending: Future | None = None

    # ------------------------------------------------------------ there -> here

    def fetch(self) -> int:
        """Brings the copy into a folder that holds no run yet; how many files.

        Raises:
            ValueError: the place cannot be read; or the folder holds a run, and the copy is ahead
                of it or another run's.
        """
        there = self._listed()
        if _CONFIG not in there:
            if _newest(there) is not None:
                raise ValueError(f"{self.address} holds checkpoints but no {_CONFIG}")
            return 0
        if (self.workdir / _CONFIG).exists():
            self._check_ours(there)
            return 0
        # In this order a fetch that is interrupted leaves nothing that looks whole.
        names = sorted(_wanted(there), key=lambda name: (name == _CONFIG, _is_manifest(name), name))
        for name in names:
            self._get(name)
        return len(names)

    def _get(self, name: str) -> None:
        path = self.workdir / name
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.parent / f".{path.name}.part"
        with self._readable():
            self._store.get_file(f"{self._root}/{name}", str(temporary))
        os.replace(temporary, path)

    def _check_ours(self, there: dict[str, int]) -> None:
        """Refuses to overwrite what is ahead of the folder's run, or of another one."""
        ahead, own = _newest(there), _newest(self._own_files())
        if ahead is not None and (own is None or ahead > own):
            raise ValueError(
                f"{self.address} is at step {ahead}, {self.workdir} at step {own or 0}: another "
                "machine went on; give an empty --workdir, which goes on from there"
            )
        with self._readable():
            copied = json.loads(self._store.cat_file(f"{self._root}/{_CONFIG}"))["config"]
        begun = json.loads((self.workdir / _CONFIG).read_bytes())["config"]
        changed = [n for n in differences(from_json(copied), from_json(begun)) if not may_change(n)]
        if changed:
            raise ValueError(
                f"{self.address} is the copy of another run ({changed[0]} is another); "
                "give another --mirror"
            )

    # ------------------------------------------------------------ here -> there

    def on_save(self, step: int, folder: Path) -> None:
        """Copies in the background; what fails is said, and tried again at the next checkpoint."""
        if self._sending is not None and not self._sending.done():
            return  # all that is new goes along with the next one
        self._sending = self._worker.submit(self._send_or_say)

    def close(self) -> None:
        """Copies what is left, and waits for it.

        Raises:
            OSError: it cannot be copied; it is here.
        """
        self._worker.shutdown(wait=True)
        if (self.workdir / _CONFIG).exists():
            self.send()

    def send(self) -> None:
        """Copies what is new; checkpoints that are gone here go there, too.

        Raises:
            OSError: something cannot be copied.
        """
        try:
            there = self._listed()
            here = _wanted(self._own_files())
            # Lines of metrics before the checkpoint that they lead to, manifests after the rest.
            for name in sorted(here, key=lambda n: (_is_checkpoint(n), _is_manifest(n), n)):
                self._put(name, there)
            gone = {name for name in there if _is_checkpoint(name)} - set(self._own_files())
            for name in sorted(gone, key=lambda name: not _is_manifest(name)):
                self._store.rm_file(f"{self._root}/{name}")
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
            if _is_checkpoint(name) and there.get(name) == status.st_size:
                return  # they never change
            mark = status.st_size, status.st_mtime_ns
            if self._sent.get(name) != mark:
                self._store.put_file(str(path), f"{self._root}/{name}")
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

    def _listed(self) -> dict[str, int]:
        """Sizes of the copy's files by their names."""
        with self._readable():
            self._store.invalidate_cache()
            found = self._store.find(self._root, detail=True)
        start = len(self._root) + 1
        return {path[start:]: int(info["size"] or 0) for path, info in found.items()}

    @contextlib.contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # each store has errors of its own
            text = voice.one_line(error) or type(error).__name__
            raise ValueError(f"--mirror {self.address} cannot be read: {text[:300]}") from error


def _store(address: str) -> tuple[Any, str]:
    """The file system of an address, and the path there."""
    from fsspec.core import url_to_fs  # slow to import

    try:
        store, root = url_to_fs(address)
    except ImportError as error:
        package = _PACKAGES.get(address.partition(":")[0])
        remedy = f"pip install '{package}'" if package else voice.one_line(error)
        raise ValueError(f"--mirror {address} needs a package: {remedy}") from error
    except ValueError as error:
        raise ValueError(f"--mirror {address}: {voice.one_line(error)}") from error
    if hasattr(store, "auto_mkdir"):  # file://, where folders are not made of names
        store.auto_mkdir = True
    return store, root.rstrip("/")


def _wanted(files: dict[str, int]) -> set[str]:
    """What a copy has of a folder: nothing unfinished, nothing of one machine alone."""
    return {
        name
        for name in files
        if name not in _OWN
        and not PurePosixPath(name).name.endswith(".part")
        and (not _is_checkpoint(name) or f"{_folder(name)}/{manifest.NAME}" in files)
    }


def _newest(files: dict[str, int]) -> int | None:
    """The step of the newest finished checkpoint."""
    steps = [int(_folder(name).rpartition("/")[2]) for name in files if _is_manifest(name)]
    return max(steps, default=None)


def _is_checkpoint(name: str) -> bool:
    return name.startswith(f"{_CHECKPOINTS}/")


def _is_manifest(name: str) -> bool:
    return re.fullmatch(rf"{_CHECKPOINTS}/[0-9]+/{manifest.NAME}", name) is not None


def _folder(name: str) -> str:
    """The checkpoint that a file belongs to."""
    return "/".join(name.split("/")[:2])
