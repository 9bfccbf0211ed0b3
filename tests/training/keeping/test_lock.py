"""Two trainings never share a folder, and no dead one keeps it."""

import contextlib
import errno
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from diffax.training.keeping import lock

ROOT = Path(__file__).parents[3]
HOLD = """
import sys, time
from pathlib import Path
from diffax.commands.errors import one_line_errors
from diffax.training.keeping import lock

def command():
    with lock.hold(Path(sys.argv[1])):
        print("held", flush=True)
        time.sleep(60)

sys.exit(one_line_errors(command))
"""


@pytest.fixture
def other(tmp_path):
    """A process of its own that holds tmp_path / "run"."""
    call = [sys.executable, "-c", HOLD, str(tmp_path / "run")]
    env = os.environ | {"JAX_PLATFORMS": "cpu"}
    process = subprocess.Popen(call, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def silent(line):
    pytest.fail(f"nothing to wait for: {line}")


def test_a_folder_in_use_is_refused_until_its_holder_is_killed(tmp_path, other):
    workdir = tmp_path / "run"
    for _ in range(2):  # a refused one does no harm to the lock
        with pytest.raises(ValueError) as error, lock.hold(workdir, silent):
            pytest.fail("two hold it")
    told = str(error.value)
    assert f"{workdir} is in use: process {other.pid} on {socket.gethostname()}" in told
    assert time.strftime("since %Y-%m-%d") in told and "\n" not in told
    assert "wait for it, end it, or use another --workdir" in told
    other.send_signal(signal.SIGKILL)
    other.wait()
    assert (workdir / lock.NAME).exists()
    with lock.hold(workdir, silent):  # at once
        assert json.loads((workdir / lock.NAME).read_text())["process"] == os.getpid()


def test_a_signal_gives_it_back(tmp_path, other):
    other.send_signal(signal.SIGTERM)
    assert other.wait(30) == 143
    assert not (tmp_path / "run").exists()  # nothing but the lock was in it


@pytest.mark.slow
def test_never_two_at_a_time(tmp_path):
    start, inside, most = threading.Barrier(4), [], []

    def work():
        start.wait()
        had = 0
        while had < 5:
            with contextlib.suppress(ValueError), lock.hold(tmp_path, lambda line: None):
                inside.append(1)
                most.append(len(inside))
                time.sleep(0.001)
                inside.pop()
                had += 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 20


def test_folders_are_made_and_go_again_where_nothing_was_put_in(tmp_path):
    workdir = tmp_path / "a" / "b"
    with pytest.raises(KeyError), lock.hold(workdir):
        raise KeyError
    assert not (tmp_path / "a").exists()
    with lock.hold(workdir):
        (workdir / "mine").write_text("")
    assert [path.name for path in workdir.iterdir()] == ["mine"]


def test_where_one_cannot_write(tmp_path):
    (tmp_path / "file").write_text("")
    for folder in (Path("/proc/nothing/here"), tmp_path / "file" / "below"):
        with pytest.raises(ValueError, match="cannot write in --workdir"), lock.hold(folder):
            pass


# ---------------------------------------------------------------- other machines


def left_behind(workdir: Path, **changes) -> Path:
    """The lock of a training on another machine, as a shared file system shows it."""
    path = workdir / lock.NAME
    holder = {"host": "far", "machine": "x", "space": "y", "process": 7}
    path.write_text(json.dumps(holder | {"since": "then", "token": "t"} | changes))
    return path


def test_another_machine_that_gives_signs_of_life_is_left_alone(tmp_path, monkeypatch):
    path, told = left_behind(tmp_path), []
    timer = threading.Timer(0.5, os.utime, [path])
    timer.start()
    with pytest.raises(ValueError, match="process 7 on far trains there since then"):
        with lock.hold(tmp_path, told.append):
            pass
    assert len(told) == 1 and "process 7 on far" in told[0] and "waiting up to 60 s" in told[0]
    assert json.loads(path.read_text())["token"] == "t"


def test_another_machine_that_is_silent_is_dead(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "STALE", 0.5)
    path, told = left_behind(tmp_path), []
    with lock.hold(tmp_path, told.append):
        assert json.loads(path.read_text())["process"] == os.getpid()
    assert len(told) == 1 and not path.exists()


def test_what_is_hours_old_is_not_waited_for(tmp_path):
    path = left_behind(tmp_path)
    os.utime(path, (time.time() - 7200,) * 2)
    with lock.hold(tmp_path, silent):
        pass


def test_the_holder_touches_it(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "BEAT", 0.02)
    with lock.hold(tmp_path):
        os.utime(tmp_path / lock.NAME, (0, 0))
        time.sleep(0.5)
        assert time.time() - (tmp_path / lock.NAME).stat().st_mtime < 10


@pytest.mark.parametrize("content", ["", "{}", "\0", "[" * 10**4])
def test_a_file_that_names_nobody_is_taken_over(tmp_path, content):
    (tmp_path / lock.NAME).write_text(content)
    os.utime(tmp_path / lock.NAME, (0, 0))
    with lock.hold(tmp_path, silent):
        pass


def test_on_a_file_system_without_locks(tmp_path, monkeypatch):
    def flock(file, how):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(lock.fcntl, "flock", flock)
    monkeypatch.setattr(lock.time, "sleep", lambda seconds: None)
    with lock.hold(tmp_path, silent):
        with pytest.raises(ValueError, match=f"process {os.getpid()} on"):
            with lock.hold(tmp_path, silent):
                pass
    process = subprocess.Popen(["true"])
    process.wait()
    here = {"machine": lock._machine(), "space": lock._space()}
    left_behind(tmp_path, process=process.pid, **here)  # dead, and known to be
    with lock.hold(tmp_path, silent):
        pass
    assert not (tmp_path / lock.NAME).exists()
