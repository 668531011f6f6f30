"""Threads beside the main one: whatever ends one of them ends the process."""

import threading

import pytest

from lakehouse.background import BackgroundThreads
from lakehouse.errors import FatalError, RetryableError


@pytest.mark.parametrize("error", [FatalError("Kafka refused"), IndexError("pop from empty list")])
def test_a_thread_that_fails_ends_the_process_with_its_error(error: Exception) -> None:
    def work() -> None:
        raise error

    stop = threading.Event()
    threads = BackgroundThreads(stop)
    threads.check()
    threads.start("refill", work)
    assert stop.wait(10.0)
    with pytest.raises(type(error), match=str(error)):
        threads.check()


def test_a_thread_that_just_returns_ends_the_process_too() -> None:
    stop = threading.Event()
    threads = BackgroundThreads(stop)
    threads.start("refill", lambda: None)
    assert stop.wait(10.0)
    with pytest.raises(RetryableError, match="refill ended"):
        threads.check()


def test_what_fails_while_stopping_is_no_failure() -> None:
    stop = threading.Event()
    stop.set()

    def work() -> None:
        raise FatalError("closed under my feet")

    threads = BackgroundThreads(stop)
    threads.start("audit", work)
    threads.start("refill", lambda: None)
    threads.join(10.0)
    threads.check()


def test_waiting_for_threads_ends() -> None:
    stop = threading.Event()
    threads = BackgroundThreads(stop)
    threads.start("one", stop.wait)
    threads.start("two", stop.wait)
    threads.join(0.01)
    assert not stop.is_set()
    stop.set()
    threads.join(10.0)
    threads.check()
