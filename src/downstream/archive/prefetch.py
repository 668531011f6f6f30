"""Fetches the next item while the caller works on the current one."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def one_ahead(fetch: Callable[[T], R], things: Iterable[T]) -> Iterator[R]:
    """Yields ``fetch(item)`` for each item in order and fetches the next one in the background.

    >>> list(one_ahead(len, ["a", "bc"]))
    [1, 2]
    """
    with ThreadPoolExecutor(1) as pool:
        coming = None
        for thing in things:
            held, coming = coming, pool.submit(fetch, thing)
            if held is not None:
                yield held.result()
        if coming is not None:
            yield coming.result()
