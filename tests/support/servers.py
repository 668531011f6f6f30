"""Runs servers of the process table as children of this process: for tests and benches, without a supervisor."""

import os
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from lakehouse.errors import FatalError, LakeError
from lakehouse.settings import Settings, load_settings
from stack.envfile import child_environment, secret_names
from stack.layout import ROOT, layout
from stack.servers.preparation import prepare
from stack.supervision.process import Process
from stack.supervision.process_table import processes

SERVERS = ("questdb", "kafka", "redis")
START_S = 240.0
STOP_S = 20.0


def scratch_settings(var_dir: Path, **overrides: object) -> Settings:
    """Settings of a throw-away lake: free ports, new secrets, its own folder; nothing of `.env` leaks in."""
    fields = Settings.model_fields
    ports = [name for name in fields if name.endswith("_port")]
    values: dict[str, object] = dict(zip(ports, free_ports(len(ports)), strict=True))
    values |= {name: secrets.token_hex(8) for name in secret_names()}
    values |= {"source": "simulator", "var_dir": var_dir, "servers_dir": ROOT / "var" / "servers"}
    return load_settings(_env_file=None, **(values | overrides))


def free_ports(count: int) -> list[int]:
    """Distinct ports that nobody listens on now, below the range the kernel hands to outgoing connections."""
    with ExitStack() as held:
        found: list[int] = []
        while len(found) < count:
            probe = held.enter_context(socket.socket())
            try:
                probe.bind(("127.0.0.1", 10_000 + secrets.randbelow(20_000)))
            except OSError:
                continue
            found.append(probe.getsockname()[1])
        return found


class LocalServers:
    """Servers that run while the `running` block lasts; each can be killed and started again."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._paths = layout(settings)
        self._table = {p.name: p for p in processes(settings, self._paths, full=True)}
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, *names: str, ready: bool = True) -> None:
        """Starts processes of the table that do not run yet, all at once, then waits until each is healthy."""
        for name in names:
            if name not in self._children:
                self._children[name] = self._spawn(self._table[name])
        for name in names if ready else ():
            self.wait_healthy(name)

    def wait_healthy(self, name: str, timeout_s: float = START_S) -> None:
        """Returns once the probe succeeds.

        Raises:
            FatalError: the process ended or stayed silent; with the end of its log.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                return self._table[name].come_up(self.settings)
            except LakeError as error:
                ended = self._children[name].poll() is not None
                if ended or time.monotonic() > deadline:
                    log = (self._paths.logs / f"{name}.log").read_text()[-2000:]
                    state = "ended" if ended else f"not healthy after {timeout_s:g} s"
                    raise FatalError(f"{name} {state}: {error}\n{log}") from error
            time.sleep(0.1)

    def kill(self, name: str) -> None:
        """kill -9, as in a crash."""
        child = self._children.pop(name)
        child.kill()
        child.wait()

    def stop(self, name: str) -> int:
        """SIGTERM, then kill -9 when it takes too long; returns the exit status."""
        child = self._children.pop(name)
        child.terminate()
        try:
            return child.wait(STOP_S)
        except subprocess.TimeoutExpired:
            child.kill()
            return child.wait()

    def wait_ended(self, name: str, timeout_s: float) -> int:
        """Waits until a process ends by itself; returns the exit status."""
        status = self._children[name].wait(timeout_s)
        del self._children[name]
        return status

    def pause(self, name: str) -> None:
        """SIGSTOP: the process hangs, its connections stay open."""
        self._children[name].send_signal(signal.SIGSTOP)

    def resume(self, name: str) -> None:
        """SIGCONT after `pause`."""
        self._children[name].send_signal(signal.SIGCONT)

    def pid(self, name: str) -> int:
        """Process id of a running server."""
        return self._children[name].pid

    def stop_all(self) -> None:
        """Stops what runs, in the order of the table's stop stages."""
        for name in sorted(self._children, key=lambda n: self._table[n].stop_stage):
            self._children[name].send_signal(signal.SIGCONT)
            self.stop(name)

    def _spawn(self, process: Process) -> subprocess.Popen[bytes]:
        with (self._paths.logs / f"{process.name}.log").open("ab") as log:
            return subprocess.Popen(
                process.command,
                env=os.environ | child_environment(self.settings) | process.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # A group of its own: Ctrl-C in a test run must not reach it before the fixture does.
                start_new_session=True,
            )


@contextmanager
def running(settings: Settings, *names: str) -> Iterator[LocalServers]:
    """Prepares a lake's folders, starts the named servers, and stops everything at the end."""
    prepare(settings, layout(settings))
    servers = LocalServers(settings)
    try:
        servers.start(*names)
        yield servers
    finally:
        servers.stop_all()
