"""One training a folder: two of them would delete each other's checkpoints.

The lock is a file in the run's folder. On one machine, and on shared file systems that pass locks
on (NFS, Lustre with flock, GPFS), the system holds it: it is free as soon as its process ends,
however it ends. Some shared file systems keep such locks to each machine. So the file also names
its holder, who touches it every few seconds: another machine takes it over only when nobody has
touched it for a while.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from diffax.training.distributed import agree, by_first, is_first
from diffax.training.keeping import reading
from diffax.training.keeping.voice import say as _say

NAME = "lock"
BEAT = 10.0  # seconds between two touches
STALE = 60.0  # seconds without one after which a holder on another machine counts as dead
SEEN = 5.0  # seconds in which a shared file system shows a new file to all machines

_HOLDER = {
    "host": str,
    "machine": str,
    "space": str,
    "process": int,
    "since": str,
    "token": str,
}
_TAKEN, _UNSURE = 1, 2
_CLOSED = -1  # in place of a file's number
_NO_LOCKS = (errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL)


@contextlib.contextmanager
def hold(workdir: Path, say: Callable[[str], None] = _say) -> Iterator[bool]:
    """Keeps every other training out of a folder while in this context.

    Several processes of one run share the lock: process 0 takes it, the others wait for its answer.
    Folders that are missing are made, and removed again where nothing was put in.

    Args:
        workdir: the run's folder.
        say: told if it must be waited for another machine's sign of life, up to `STALE` seconds.

    Returns:
        Whether this process sees the folder of process 0: machines may have folders of one name.

    Raises:
        ValueError: another training holds the folder (who, where, since when), or one cannot write
            there.

    Example:
        >>> with hold(Path("runs/digits")):  # doctest: +SKIP
        ...     train_on()
    """
    lock, told = _Lock(workdir), False
    try:
        while by_first(lock.take) == _UNSURE:
            if not told:
                say(f"{lock.holder}; waiting up to {STALE:.0f} s to see whether it is alive")
                told = True
            time.sleep(1.0)
        yield _is_seen(lock)
    finally:
        if is_first():
            lock.release()


class _Lock:
    """The lock of a folder, as process 0 has it."""

    def __init__(self, workdir: Path) -> None:
        self._path = Path(workdir) / NAME
        self._file = _CLOSED
        self._token = secrets.token_hex(8)
        self._made: list[Path] = []
        self._seen: tuple[str | None, int, float] | None = None  # token, touched; when we saw that
        self._done = threading.Event()
        self._heart: threading.Thread | None = None
        self.holder = ""

    def take(self) -> int:
        """Tries once: `_TAKEN`, or `_UNSURE` while another machine's holder may be alive."""
        try:
            self._make_folder()
            return self._take()
        except OSError as error:
            raise ValueError(
                f"cannot write in --workdir {self._path.parent}: {error.strerror}; give another "
                "folder"
            ) from error

    @property
    def path(self) -> Path:
        """Of the file."""
        return self._path

    @property
    def token(self) -> str:
        """What tells this holder from all others."""
        return self._token

    def release(self) -> None:
        """Gives it back, also after a `take` that was refused."""
        self._done.set()
        if self._heart is not None:
            self._heart.join()
            with contextlib.suppress(OSError):
                if _holder_in(self._path).get("token") == self._token:
                    self._path.unlink()
        if self._file != _CLOSED:
            os.close(self._file)
            self._file = _CLOSED
        for folder in reversed(self._made):
            with contextlib.suppress(OSError):  # not empty: somebody used it
                folder.rmdir()

    def _make_folder(self) -> None:
        folder = self._path.parent
        missing = [p for p in (folder, *folder.parents) if not p.exists()]
        for path in reversed(missing):
            with contextlib.suppress(FileExistsError):
                path.mkdir()
                self._made.append(path)

    def _take(self) -> int:
        created, held = self._open()
        holder = {} if created else _holder_in(self._path)
        if held is False:
            raise self._refusal(holder)
        # A lock of the system that we were given proves that a holder on this machine is dead.
        proven = created or (held and holder.get("machine") == _machine())
        if not proven and not self._is_dead(holder):
            os.close(self._file)
            self._file = _CLOSED
            return _UNSURE
        self._write()
        if not proven or held is None:  # of two that judged the same, the later writer has it
            time.sleep(1.0)
            if _holder_in(self._path).get("token") != self._token:
                raise self._refusal(_holder_in(self._path))
        self._heart = threading.Thread(target=self._beat, name="diffax-lock", daemon=True)
        self._heart.start()
        return _TAKEN

    def _open(self) -> tuple[bool, bool | None]:
        """Opens the file: whether we made it, and what the system's lock says, see `_flock`."""
        while True:
            try:
                self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
                created = True
            except FileExistsError:
                try:
                    self._file = os.open(self._path, os.O_RDWR | os.O_NOFOLLOW)
                except FileNotFoundError:  # its holder gave it back in this very moment
                    continue
                created = False
            held = _flock(self._file)
            with contextlib.suppress(FileNotFoundError):
                if held is False or os.path.samestat(self._path.stat(), os.fstat(self._file)):
                    return created, held
            os.close(self._file)

    def _is_dead(self, holder: dict[str, Any]) -> bool:
        """Whether a holder that may be on another machine gives no sign of life.

        Raises:
            ValueError: it gave one.
        """
        if holder and (holder["machine"], holder["space"]) == (_machine(), _space()):
            if _is_running(holder["process"]):
                raise self._refusal(holder)
            return True
        self.holder = _words(self._path.parent, holder)
        touched = os.fstat(self._file)
        now = (holder.get("token"), touched.st_mtime_ns)
        if self._seen is None:
            self._seen = (*now, time.monotonic())
        if self._seen[:2] != now:
            raise self._refusal(holder)
        # Machines' clocks differ by seconds, not by an hour: below that only our own counts.
        if time.time() - touched.st_mtime > 3600:
            return True
        # Whoever made the file and has not yet written his name needs a moment, not a minute.
        return time.monotonic() - self._seen[2] > (STALE if holder else 3.0)

    def _refusal(self, holder: dict[str, Any]) -> ValueError:
        return ValueError(
            f"{_words(self._path.parent, holder)}; wait for it, end it, or use another --workdir"
        )

    def _write(self) -> None:
        holder = {
            "host": socket.gethostname(),
            "machine": _machine(),
            "space": _space(),
            "process": os.getpid(),
            "since": time.strftime("%Y-%m-%d %H:%M:%S %Z"),
            "token": self._token,
        }
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, json.dumps(holder).encode(), 0)
        os.fsync(self._file)

    def _beat(self) -> None:
        while not self._done.wait(BEAT):
            with contextlib.suppress(OSError):
                os.utime(self._file)


def _is_seen(lock: _Lock) -> bool:
    """Whether this process sees the file that process 0 wrote."""
    token = agree(np.frombuffer(lock.token.encode(), np.uint8)).tobytes().decode()
    if is_first():
        return True
    until = time.monotonic() + SEEN
    while _holder_in(lock.path).get("token") != token:
        if time.monotonic() > until:
            return False
        time.sleep(0.1)
        with contextlib.suppress(OSError):
            os.listdir(lock.path.parent)  # network file systems remember what was not there
    return True


def _flock(file: int) -> bool | None:
    """Whether the system gave us the lock; None where this file system has none."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno in _NO_LOCKS:
            return None
        raise
    return True


def _holder_in(path: Path) -> dict[str, Any]:
    """Who holds or held a lock; {} where the file does not say."""
    try:
        return reading.read_object(path, _HOLDER, max_bytes=4096)
    except (OSError, ValueError):
        return {}


def _words(workdir: Path, holder: dict[str, Any]) -> str:
    if not holder:
        return f"another training has just begun in {workdir}"
    return (
        f"{workdir} is in use: process {holder['process']} on {holder['host']} trains there since "
        f"{holder['since']}"
    )


def _machine() -> str:
    """This machine since it was started, the same in all its containers."""
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return socket.gethostname()


def _space() -> str:
    """Where process numbers mean the same: containers count their own."""
    with contextlib.suppress(OSError):
        return os.readlink("/proc/self/ns/pid")
    return ""


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return True
