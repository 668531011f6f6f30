"""Rate limits for expensive endpoints."""

import threading
import time
from collections import deque
from collections.abc import Callable
from http import HTTPStatus
from math import ceil

from forecast.serving.problems import Problem


class RateLimit:
    """At most ``calls`` in any ``period_s`` seconds, over all callers.

    >>> limit = RateLimit(1, 60.0, clock=lambda: 0.0)
    >>> limit.take()
    >>> limit.take()
    Traceback (most recent call last):
    ...
    forecast.serving.problems.Problem: ...
    """

    def __init__(self, calls: int, period_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._calls = calls
        self._period = period_s
        self._clock = clock
        self._taken: deque[float] = deque()
        self._lock = threading.Lock()

    def take(self) -> None:
        """Counts one call.

        Raises:
            Problem: 429 with ``Retry-After`` when there were too many.
        """
        with self._lock:
            now = self._clock()
            while self._taken and now - self._taken[0] >= self._period:
                self._taken.popleft()
            if len(self._taken) < self._calls:
                self._taken.append(now)
                return
            wait = ceil(self._taken[0] + self._period - now)
        raise Problem(
            HTTPStatus.TOO_MANY_REQUESTS,
            "too-many-requests",
            f"at most {self._calls} calls in {self._period:g} s; again in {wait} s",
            headers={"Retry-After": str(wait)},
        )
