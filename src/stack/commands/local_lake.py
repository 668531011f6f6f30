"""What the command line asks of the lake on this machine: its status, one process's log, to stop."""

from collections.abc import Callable
from pathlib import Path

from lakehouse.errors import FatalError
from lakehouse.settings import Settings
from stack.commands.down import down
from stack.commands.status_report import StatusReport, gather
from stack.layout import layout
from stack.supervision.process_table import processes
from stack.supervision.supervisor import Supervisor


def running_report(settings: Settings) -> StatusReport:
    """The status of what runs.

    Raises:
        FatalError: nothing does.
    """
    paths = layout(settings)
    supervisor = Supervisor(paths)
    if not supervisor.is_running():
        raise FatalError("the lake is not running: tradelake up starts it")
    states = supervisor.states()
    return gather(settings, [process for process in processes(settings, paths) if process.name in states], states)


def log_of(settings: Settings, name: str) -> Path:
    """The log of a process.

    Raises:
        FatalError: there is no such process, or it never ran.
    """
    paths = layout(settings)
    names = [process.name for process in processes(settings, paths)]
    path = paths.logs / f"{name}.log"
    if name not in names:
        raise FatalError(f"no process {name!r}: choose one of {', '.join(names)}")
    if not path.exists():
        raise FatalError(f"{name} has no log yet: tradelake up starts it")
    return path


def stop_all(settings: Settings, say: Callable[[str], None]) -> None:
    """Stops the lake in an order that loses nothing."""
    paths = layout(settings)
    down(settings, paths, processes(settings, paths), say)
