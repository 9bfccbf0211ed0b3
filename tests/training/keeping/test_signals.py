"""A request to stop is kept, whatever becomes of the exception it raises."""

import os
import signal
import threading
import time

import pytest

from diffax.training.keeping.signals import Interrupted, StopRequest


def ask(number: int) -> None:
    os.kill(os.getpid(), number)
    for _ in range(1000):
        pass


def test_a_request_waits_to_be_looked_at():
    with StopRequest() as stop:
        assert stop.status is None
        ask(signal.SIGUSR1)
        assert stop.status == 143
        ask(signal.SIGINT)
        assert stop.status == 143  # the first one counts


def test_a_request_from_before_counts_as_soon_as_it_may():
    with StopRequest() as stop:
        ask(signal.SIGTERM)
        with pytest.raises(Interrupted), stop.at_once():
            pytest.fail("must not begin")
        assert not stop.immediate


def test_one_within_another_knows_what_the_outer_was_asked():
    with StopRequest() as outer:
        with StopRequest() as inner:
            assert inner.status is None
        ask(signal.SIGTERM)
        with StopRequest() as inner:
            assert inner.status == 143
        assert signal.getsignal(signal.SIGTERM) == outer._notice


def test_an_exception_that_python_ignores_is_raised_again():
    class Dying:
        def __del__(self):
            ask(signal.SIGTERM)

    with StopRequest() as stop, pytest.raises(Interrupted), stop.at_once():
        dying = Dying()
        del dying
        assert stop.status == 143  # known already, and the exception comes
        time.sleep(20)


def test_leaving_takes_a_pending_exception_along():
    class Dying:
        def __del__(self):
            ask(signal.SIGTERM)

    with StopRequest(immediate=True) as stop:
        dying = Dying()
        del dying
    time.sleep(0.1)  # SIGUSR1 would end this process now
    assert stop.status == 143


def test_elsewhere_than_in_the_main_thread_nothing_is_touched():
    before = signal.getsignal(signal.SIGTERM)
    seen = []

    def work():
        with StopRequest() as stop:
            seen.append((stop.status, signal.getsignal(signal.SIGTERM)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(None, before)]
