"""Fetching ahead: one thing and no more, and an error reaches the caller."""

import threading

import pytest

from downstream.archive.prefetch import one_ahead


def test_one_thing_is_fetched_ahead_and_no_more() -> None:
    begun, second = [], threading.Event()

    def fetch(number: int) -> int:
        begun.append(number)
        if number == 2:
            second.set()
        return number * 10

    results = one_ahead(fetch, iter([1, 2, 3, 4]))
    assert next(results) == 10
    assert second.wait(10)
    assert begun == [1, 2]
    assert list(results) == [20, 30, 40]


def test_an_error_while_fetching_reaches_the_caller() -> None:
    with pytest.raises(ZeroDivisionError):
        list(one_ahead(lambda n: 1 // n, [1, 0, 2]))
