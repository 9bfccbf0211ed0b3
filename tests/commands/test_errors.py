"""Every way in which a command can end: a status, and one line at most."""

import gc
import os
import signal
import subprocess
import sys
import textwrap
import time
import warnings
from pathlib import Path

import pytest

from diffax.commands.errors import UsageError, one_line_errors
from diffax.training.keeping.signals import StopRequest

ROOT = Path(__file__).parents[2]


def raising(error):
    def command():
        raise error

    return command


@pytest.mark.parametrize(
    "error, status", [(ValueError("no"), 2), (UsageError("no"), 2), (OSError(28, "no"), 2)]
)
def test_bad_input_is_status_2(capsys, error, status):
    assert one_line_errors(raising(error)) == status
    assert capsys.readouterr().err in ("error: no\n", "error: [Errno 28] no\n")


@pytest.mark.parametrize(
    "error", [TypeError("a\nb"), KeyError("x"), RecursionError(), MemoryError(), AssertionError()]
)
def test_what_nobody_expected_is_one_line_and_a_file(tmp_path, capsys, monkeypatch, error):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert one_line_errors(raising(error)) == 1
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and told.startswith(f"error: {type(error).__name__}: ")
    (left,) = tmp_path.iterdir()
    assert f"the traceback is in {left})" in told
    assert "Traceback" in left.read_text() and "in command" in left.read_text()


def test_the_runs_folder_takes_the_traceback_where_it_can(tmp_path, capsys, monkeypatch):
    (tmp_path / "temporary").mkdir()
    (tmp_path / "run").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    for _ in range(2):
        one_line_errors(raising(TypeError("no")), workdir=lambda: tmp_path / "run")
    log = tmp_path / "run" / "error.log"
    assert log.read_text().count("Traceback") == 2  # both are kept
    assert str(log) in capsys.readouterr().err
    one_line_errors(raising(TypeError("no")), workdir=lambda: tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()
    assert len(list((tmp_path / "temporary").iterdir())) == 1
    monkeypatch.setattr("tempfile.tempdir", "/proc/nowhere")
    assert one_line_errors(raising(TypeError("no"))) == 1
    assert "DIFFAX_TRACEBACK=1 shows" in capsys.readouterr().err


def test_escapes_never_reach_the_terminal(capsys):
    nasty = "a\x1b[31m\x07\r\n\u202eb\ud800\x9b"
    one_line_errors(raising(ValueError(nasty)))

    def warning():
        warnings.warn(nasty, stacklevel=1)
        return 0

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        assert one_line_errors(warning) == 0
    told = capsys.readouterr().err
    escaped = r"a\x1b[31m\x07 \u202eb\ud800\x9b"
    assert told == f"error: {escaped}\nwarning: {escaped}\n"


def test_very_long_messages_are_cut(capsys):
    one_line_errors(raising(ValueError("x" * 10**6)))
    assert len(capsys.readouterr().err) < 2100


def test_a_traceback_for_those_who_want_it(monkeypatch):
    monkeypatch.setenv("DIFFAX_TRACEBACK", "1")
    with pytest.raises(TypeError):
        one_line_errors(raising(TypeError("no")))


def test_the_process_is_left_as_it_was():
    def settings():
        handlers = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)]
        return handlers, sys.stdout, sys.stderr, warnings.showwarning, sys.unraisablehook

    before = settings()
    assert one_line_errors(lambda: 7) == 7
    assert settings() == before
    with pytest.raises(SystemExit):
        one_line_errors(raising(SystemExit(3)))
    assert settings() == before


# ---------------------------------------------------------------- signals


def ask(number: int) -> None:
    """A signal to this very process, noticed before the next lines are done."""
    os.kill(os.getpid(), number)
    for _ in range(1000):
        pass


class Dying:
    def __del__(self):
        ask(signal.SIGINT)


def in_a_destructor():
    dying = Dying()
    del dying


def in_a_garbage_collection():
    def callback(phase, info):
        gc.callbacks.remove(callback)
        ask(signal.SIGINT)

    gc.callbacks.append(callback)
    gc.collect()


@pytest.mark.parametrize("place", [in_a_garbage_collection, in_a_destructor])
def test_a_signal_where_python_ignores_exceptions_is_not_lost(capsys, place):
    def command():
        place()
        time.sleep(20)
        return 0

    began = time.monotonic()
    assert one_line_errors(command) == 130
    assert time.monotonic() - began < 10 and capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "number, status", [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGUSR1, 143)]
)
def test_a_signal_ends_a_command_with_its_status(capsys, number, status):
    ended = []

    def command():
        try:
            ask(number)
        finally:
            ended.append(True)  # in good order

    assert one_line_errors(command) == status
    assert ended and capsys.readouterr().err == ""


def test_an_error_after_a_signal_is_told_all_the_same(capsys):
    def command():
        with StopRequest() as stop:
            ask(signal.SIGTERM)
            assert stop.status == 143
            raise OSError("the last save failed")

    assert one_line_errors(command) == 2
    assert "the last save failed" in capsys.readouterr().err


# ---------------------------------------------------------------- in a process of its own


def child(body: str, **streams) -> subprocess.CompletedProcess:
    """Runs `body` as a command; sys.exit with its status."""
    code = (
        "import sys\nfrom diffax.commands.errors import one_line_errors\n"
        f"def command():\n{textwrap.indent(textwrap.dedent(body), '    ')}\n"
        "sys.exit(one_line_errors(command))"
    )
    env = os.environ | {"JAX_PLATFORMS": "cpu"}
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | streams
    call = [sys.executable, "-c", code]
    return subprocess.run(call, cwd=ROOT, env=env, timeout=120, text=True, **streams)


def test_a_full_disk_takes_every_word_and_stops_nothing(tmp_path):
    body = f"""
    from diffax.training.keeping import voice
    bar = voice.progress_bar(total=3)
    for i in range(3):
        print("a line", flush=True)
        print("another", file=sys.stderr)
        voice.say("said")
        voice.warn("warned")
        bar.update()
    bar.close()
    open({str(tmp_path / "done")!r}, "w").close()
    raise ValueError("told to nobody")
    """
    with open("/dev/full", "w") as full:
        done = child(body, stderr=full)
        assert done.returncode == 2 and (tmp_path / "done").exists()
        assert done.stdout.count("a line") == 3 and done.stdout.count("said") == 3
        (tmp_path / "done").unlink()
        assert child(body, stdout=full, stderr=full).returncode == 2
        assert (tmp_path / "done").exists()
