"""Threads beside a process's main one, none of which can end unnoticed."""

import threading
from collections.abc import Callable


class BackgroundThreads:
    """When one of the threads fails, the process is told to stop and fails with its error.

    Whatever the error: a process that lives on without one of its threads looks healthy and does half of its work, and
    the supervisor starts an ended one again.
    """

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop
        self._failed: Exception | None = None

    def start(self, name: str, work: Callable[[], None]) -> None:
        """Runs ``work`` in a thread that does not outlive the process."""
        threading.Thread(target=self._guarded, args=(work,), name=name, daemon=True).start()

    def check(self) -> None:
        """Raises what a helper failed with."""
        if self._failed is not None:
            raise self._failed

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001  the outermost frame of a thread; `check` raises it again
            if not self._stop.is_set():
                self._failed = error
                self._stop.set()
