"""What is printed may be lost; it goes where it should, and steers no terminal."""

import io
import sys

import pytest
from tqdm import tqdm

from diffax.training.keeping.voice import (
    Unfailing,
    one_line,
    progress_bar,
    say,
    unfailing,
    warn,
)


class Closed(io.StringIO):
    """A stream that takes nothing."""

    def write(self, text):
        raise BrokenPipeError(32, "Broken pipe")

    def flush(self):
        raise ValueError("I/O operation on closed file")


def test_lines_go_out(capsys):
    say("a\nb")
    warn("c\x1b[2J")
    assert capsys.readouterr() == ("a b\n", "warning: c\\x1b[2J\n")


def test_no_stream_no_error(monkeypatch):
    for stream in (Closed(), None):
        monkeypatch.setattr(sys, "stdout", stream)
        monkeypatch.setattr(sys, "stderr", stream)
        say("a")
        warn("b")
        with progress_bar(total=2) as bar:
            bar.update()
        with unfailing():
            print("c", flush=True)
            print("d", file=sys.stderr)
        assert sys.stdout is stream and sys.stderr is stream


def test_letters_that_a_stream_does_not_know_are_escaped():
    raw = io.BytesIO()
    stream = Unfailing(io.TextIOWrapper(raw, encoding="ascii"))
    stream.write("é 1\n")
    stream.flush()
    assert raw.getvalue() == b"\\xe9 1\n"


def test_a_stream_is_tried_again():
    stream = io.StringIO()
    wrapped = Unfailing(stream)
    wrapped.write("1")
    wrapped.stream = Closed()
    wrapped.write("2")
    wrapped.stream = stream
    wrapped.write("3")
    assert stream.getvalue() == "13"


def test_bars_make_way_for_lines(capsys):
    with progress_bar(total=2, mininterval=0) as bar:
        assert bar.fp == sys.stderr  # so tqdm knows that they share the terminal
        cleared = []
        bar.clear = lambda nolock: cleared.append(True)
        warn("look")
        say("look")
    assert len(cleared) == 2 and isinstance(bar, tqdm)


@pytest.mark.parametrize(
    "text, line",
    [
        (" a\t\nb ", "a b"),
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("\u202e\ud800\x85é 你", "\\u202e\\ud800 é 你"),
    ],
)
def test_one_line(text, line):
    assert one_line(text) == line
