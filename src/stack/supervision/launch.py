"""Starts processes in dependency order and waits until each is healthy or has clearly failed."""

import time
from collections import defaultdict
from collections.abc import Callable, Sequence

from lakehouse.errors import FatalError
from lakehouse.settings import Settings
from stack.commands.status_report import probe_error
from stack.layout import Layout
from stack.supervision.process import Process
from stack.supervision.supervisor import Supervisor

HEALTHY_S = 300.0
MAX_TRIES = 5


class Launch:
    """One start of the lake: which processes were started, how often each ended, and which are healthy."""

    def __init__(self, settings: Settings, paths: Layout, supervisor: Supervisor, say: Callable[[str], None]) -> None:
        self._settings = settings
        self._paths = paths
        self._supervisor = supervisor
        self._say = say
        self._started: dict[str, float] = {}
        self._pids: dict[str, set[int]] = defaultdict(set)
        self._healthy: set[str] = set()

    def run(self, table: Sequence[Process]) -> None:
        """Starts each process once its dependencies are healthy; returns when all are.

        Raises:
            FatalError: a process keeps exiting or never answers; the message ends with its log.
        """
        names = {process.name for process in table}
        while waiting := [process for process in table if process.name not in self._healthy]:
            states = self._supervisor.states()
            for process in waiting:
                if process.name in self._started:
                    self._pids[process.name] |= {states[process.name].pid} - {0}
                    self._look_at(process, len(table))
                elif names.intersection(process.after) <= self._healthy:
                    self._supervisor.start(process.name)
                    self._started[process.name] = time.monotonic()
            time.sleep(0.1)

    def _look_at(self, process: Process, of: int) -> None:
        error = probe_error(process.come_up, self._settings)
        waited = time.monotonic() - self._started[process.name]
        if error is None:
            self._healthy.add(process.name)
            self._say(f"  {process.name:<10} healthy after {waited:4.1f} s ({len(self._healthy)} of {of})")
        elif len(self._pids[process.name]) > MAX_TRIES:
            raise FatalError(self._failure(process.name, "exits repeatedly"))
        elif waited > HEALTHY_S:
            raise FatalError(self._failure(process.name, f"is not healthy after {HEALTHY_S:g} s: {error}"))

    def _failure(self, name: str, what: str) -> str:
        log = self._paths.logs / f"{name}.log"
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-10:]) if log.exists() else ""
        return f"{name} {what}; fix the cause and run tradelake up again; the end of {log}:\n{tail}"
