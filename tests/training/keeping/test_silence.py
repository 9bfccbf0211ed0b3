"""Of a failed write only our own line is shown; nobody else is silenced."""

import logging
import sys
from types import SimpleNamespace

import pytest

from diffax.training.keeping import silence

NAMES = ("absl", "asyncio")
SITE = "/env/site-packages"


@pytest.fixture
def heard(monkeypatch):
    """What is said and not silenced, in the length of a test."""
    said = []
    monkeypatch.setattr(sys, "unraisablehook", lambda u: said.append(str(u.exc_value)))
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())
    for name in NAMES:
        monkeypatch.setattr(logging.getLogger(name), "filters", [])
        monkeypatch.setattr(logging.getLogger(name), "handlers", [handler])
    silence.of_storage()
    return said


def raised_in(path):
    """An error whose traceback goes through a file."""
    try:
        exec(compile("raise OSError('full')", path, "exec"))
    except OSError as error:
        return type(error), error, error.__traceback__


@pytest.mark.parametrize("path, text, error, shown", [
    (f"{SITE}/orbax/checkpoint/futures.py", "write failed", None, False),
    (f"{SITE}/asyncio/events.py", "in tensorstore/driver.cc: no space", None, False),
    (f"{SITE}/asyncio/events.py", "never retrieved", f"{SITE}/orbax/serialize.py", False),
    (f"{SITE}/asyncio/events.py", "never retrieved", f"{SITE}/mine/serve.py", True),
    (f"{SITE}/absl/app.py", "something else", None, True),
])  # fmt: skip
@pytest.mark.parametrize("name", NAMES)
def test_log_records_of_storage_are_left_out(heard, name, path, text, error, shown):
    exc_info = raised_in(error) if error else None
    record = logging.LogRecord(name, logging.ERROR, path, 1, text, None, exc_info)
    logging.getLogger(name).handle(record)
    assert heard == [text] * shown


def test_errors_that_nobody_can_catch_are_left_out_only_of_an_ended_loop(heard):
    for text in ("Event loop is closed", "another"):
        sys.unraisablehook(SimpleNamespace(exc_value=RuntimeError(text)))
    assert heard == ["another"]
