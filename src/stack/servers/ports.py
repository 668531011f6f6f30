"""Finds who holds a port before our own server fails on it, and names the setting that moves ours."""

from collections.abc import Iterable

import psutil

from lakehouse.errors import FatalError
from lakehouse.settings import Settings
from stack.layout import Layout
from stack.supervision.process import Process


def listeners() -> dict[int, psutil.Process | None]:
    """Local TCP listening ports, each with its process (None if it belongs to another user)."""
    found: dict[int, psutil.Process | None] = {}
    for connection in psutil.net_connections("tcp"):
        if connection.status == psutil.CONN_LISTEN and connection.laddr:
            try:
                found[connection.laddr.port] = psutil.Process(connection.pid) if connection.pid else None
            except psutil.NoSuchProcess:
                continue
    return found


def require_free(settings: Settings, wanted: Iterable[Process]) -> None:
    """Checks the ports of processes that are about to start.

    Raises:
        FatalError: a port is taken, or two settings share one; the message says by whom and what to change.
    """
    held = listeners()
    claimed: dict[int, str] = {}
    for process in wanted:
        for setting, port in process.port_numbers(settings).items():
            if port in claimed:
                raise FatalError(f"{setting} and {claimed[port]} are both {port}: change one of them in .env")
            claimed[port] = setting
            if port in held:
                raise FatalError(_taken(process, setting, port, held[port]))


def _taken(process: Process, setting: str, port: int, holder: psutil.Process | None) -> str:
    if holder is None:
        return f"port {port} ({process.name}) is held by a process of another user: stop it, or set {setting} in .env"
    if belongs_to(process, holder):
        return f"port {port} is held by an old {process.name} (pid {holder.pid}): tradelake down ends it"
    return (
        f"port {port} ({process.name}) is held by {holder.name()} (pid {holder.pid}): "
        f"stop it, or set {setting} to another port in .env"
    )


def leftovers(settings: Settings, paths: Layout, table: Iterable[Process]) -> dict[str, psutil.Process]:
    """Processes of this lake that listen although no supervisor runs them."""
    held = listeners()
    found = {}
    for process in table:
        for port in process.port_numbers(settings).values():
            holder = held.get(port)
            if holder is not None and belongs_to(process, holder) and not _is_of_another_lake(holder, paths):
                found[process.name] = holder
    return found


def belongs_to(process: Process, running: psutil.Process) -> bool:
    """Whether a running program is a leftover of this process: same command, and no supervisor over it."""
    try:
        return not is_supervised(running) and running.cmdline() == list(process.command)
    except psutil.Error:
        return False


def is_supervised(running: psutil.Process) -> bool:
    """Whether a supervisord is the parent of a process."""
    parent = running.parent()
    return parent is not None and "supervisor.supervisord" in parent.cmdline()


def supervisor_url(paths: Layout) -> str:
    """The address of the lake's supervisord, as its programs find it in ``SUPERVISOR_SERVER_URL``."""
    return f"unix://{paths.socket}"


def _is_of_another_lake(running: psutil.Process, paths: Layout) -> bool:
    """Our own processes have the same command in every lake; the supervisor that started them tells."""
    try:
        return running.environ().get("SUPERVISOR_SERVER_URL", supervisor_url(paths)) != supervisor_url(paths)
    except (psutil.Error, OSError):
        return False
