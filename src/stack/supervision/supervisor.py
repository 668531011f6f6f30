"""Client of supervisord over its Unix socket: starts it, updates, starts and stops its programs."""

import getpass
import hashlib
import socket
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from supervisor.xmlrpc import SupervisorTransport

from lakehouse.errors import FatalError
from lakehouse.settings import Settings
from stack.envfile import child_environment
from stack.layout import MAX_SOCKET_PATH, Layout
from stack.servers import configurations
from stack.servers.preparation import write_private
from stack.supervision.process import Process

STOP_WAIT_S = 15
BOOT_S = 10.0


@dataclass(frozen=True, slots=True)
class ProcessState:
    """supervisord's view of a process; ``state`` is its state name in lower case, e.g. ``running``."""

    state: str
    pid: int
    uptime_s: int
    detail: str


class Supervisor:
    """A client of one lake's supervisord, which may not be running."""

    def __init__(self, paths: Layout) -> None:
        self._paths = paths
        transport = SupervisorTransport(None, None, f"unix://{paths.socket}")
        self._rpc = xmlrpc.client.ServerProxy("http://localhost", transport=transport).supervisor

    def is_running(self) -> bool:
        """Whether supervisord accepts connections; a stale socket does not count."""
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(str(self._paths.socket))
            except (FileNotFoundError, ConnectionRefusedError):
                return False
            return True

    def boot(self) -> None:
        """Starts supervisord without starting any program.

        Raises:
            FatalError: it did not start.
        """
        command = [sys.executable, "-m", "supervisor.supervisord", "-c", str(self._config)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        deadline = time.monotonic() + BOOT_S
        while done.returncode == 0 and time.monotonic() < deadline:
            if self.is_running():
                return
            time.sleep(0.05)
        raise FatalError(
            f"supervisord did not start: {done.stderr.strip()[-500:] or self._paths.run / 'supervisord.log'}"
        )

    def write_config(self, settings: Settings, table: Iterable[Process]) -> None:
        """Writes supervisord's configuration with a hash of the settings, so that a change makes `update` restart."""
        if len(str(self._paths.socket)) > MAX_SOCKET_PATH:
            raise FatalError(f"{self._paths.socket} is too long for a socket: set VAR_DIR to a shorter path")
        for folder in (self._paths.run, self._paths.logs):
            folder.mkdir(parents=True, exist_ok=True)
        common = {
            "SOURCE": settings.source,
            "PYTHONUNBUFFERED": "1",
            # Keep compiled modules: without them every start of a process takes seconds longer.
            "PYTHONDONTWRITEBYTECODE": "",
            # By default glibc keeps many memory arenas, one for every few threads.
            "MALLOC_ARENA_MAX": "2",
            "SETTINGS_HASH": settings_hash(settings),
        }
        programs = [
            configurations.program_conf(
                p.name,
                p.command,
                common | p.environment,
                Path.cwd(),
                self._paths.logs / f"{p.name}.log",
                STOP_WAIT_S,
            )
            for p in table
        ]
        write_private(self._config, configurations.supervisord_conf(self._paths.run, getpass.getuser(), programs))

    def update(self, table: Sequence[Process]) -> list[str]:
        """Makes a running supervisord reload its configuration; returns the processes it stopped, in order."""
        added, changed, removed = self._call("reloadConfig")[0]
        stages = {p.name: p.stop_stage for p in table}
        stopped = sorted((*changed, *removed), key=lambda name: stages.get(name, 0))
        for name in stopped:
            self._call("stopProcessGroup", name)
            self._call("removeProcessGroup", name)
        for name in (*added, *changed):
            self._call("addProcessGroup", name)
        return stopped

    def states(self) -> dict[str, ProcessState]:
        """The state of each process."""
        return {
            row["name"]: ProcessState(
                row["statename"].lower(),
                row["pid"],
                row["now"] - row["start"] if row["pid"] else 0,
                row["spawnerr"] or row["description"],
            )
            for row in self._call("getAllProcessInfo")
        }

    def start(self, name: str) -> None:
        """Starts a process without waiting; leaves a running one alone."""
        self._call("startProcess", name, False, tolerate=("ALREADY_STARTED",))

    def stop(self, names: Iterable[str]) -> None:
        """Stops processes in parallel and waits: SIGTERM, then SIGKILL after `STOP_WAIT_S`."""
        waiting = set(names)
        for name in waiting:
            self._call("stopProcess", name, False, tolerate=("NOT_RUNNING",))
        while waiting:
            states = self.states()
            waiting = {name for name in waiting if states[name].pid}
            time.sleep(0.05)

    def shut_down(self) -> None:
        """Ends supervisord and waits until it is gone."""
        self._call("shutdown")
        deadline = time.monotonic() + BOOT_S + STOP_WAIT_S
        while self.is_running() or (self._paths.run / "supervisord.pid").exists():
            if time.monotonic() > deadline:
                raise FatalError(f"supervisord does not stop: see {self._paths.run / 'supervisord.log'}")
            time.sleep(0.05)

    @property
    def _config(self) -> Path:
        return self._paths.run / "supervisord.conf"

    def _call(self, method: str, *arguments: object, tolerate: tuple[str, ...] = ()) -> Any:
        try:
            return getattr(self._rpc, method)(*arguments)
        except xmlrpc.client.Fault as fault:
            if fault.faultString.split(":")[0] in tolerate:
                return None
            raise FatalError(f"supervisord refuses {method} {arguments}: {fault.faultString}") from fault
        except OSError as error:
            raise FatalError(
                f"supervisord at {self._paths.socket} does not answer: {error}; run tradelake down"
            ) from error


def settings_hash(settings: Settings) -> str:
    """Twelve hex digits that change with any setting and reveal no secret."""
    text = repr(child_environment(settings))
    return hashlib.sha256(text.encode()).hexdigest()[:12]
