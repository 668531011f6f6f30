"""Threads beside a process's main one, none of which can end unnoticed."""

import threading
import time
from collections.abc import Callable

from lakehouse.errors import RetryableError


class BackgroundThreads:
    """When one of the threads ends, the process is told to stop and fails with the cause.

    Whatever the cause: a process that lives on without one of its threads looks healthy and does half of its work, and
    the supervisor starts an ended one again. Only after ``stop`` is set may a thread end.
    """

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop
        self._failed: Exception | None = None
        self._threads: list[threading.Thread] = []

    def start(self, name: str, work: Callable[[], object]) -> None:
        """Runs ``work`` in a thread that does not outlive the process."""
        thread = threading.Thread(target=self._guarded, args=(name, work), name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def check(self) -> None:
        """Raises what a thread failed with."""
        if self._failed is not None:
            raise self._failed

    def join(self, timeout_s: float) -> None:
        """Waits until the threads have ended, together at most ``timeout_s``."""
        deadline = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _guarded(self, name: str, work: Callable[[], object]) -> None:
        try:
            work()
            self._fail(RetryableError(f"thread {name} ended before the process was stopped"))
        except Exception as error:  # noqa: BLE001  the outermost frame of a thread; `check` raises it again
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        if not self._stop.is_set():
            self._failed = error
            self._stop.set()
