"""Background threads of a process; if one ends, the process ends with its error."""

import threading
import time
from collections.abc import Callable

from lakehouse.errors import RetryableError


class BackgroundThreads:
    """If any of the threads ends, tells the process to stop and makes it fail with the cause.

    A process that lives on without one of its threads looks healthy but does half of its work; one that ends is
    restarted by the supervisor. A thread may end only after ``stop`` is set.
    """

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop
        self._failed: Exception | None = None
        self._threads: list[threading.Thread] = []

    def start(self, name: str, work: Callable[[], object]) -> None:
        """Runs ``work`` in a daemon thread."""
        thread = threading.Thread(target=self._guarded, args=(name, work), name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def check(self) -> None:
        """Raises the error of a failed thread, if any."""
        if self._failed is not None:
            raise self._failed

    def join(self, timeout_s: float) -> None:
        """Waits for all threads to end, at most ``timeout_s`` in total."""
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
