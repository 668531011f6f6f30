"""What the command line asks of the lake on this machine: its status, one process's log, to stop."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from lakehouse.errors import FatalError
from lakehouse.settings import Settings
from stack.commands.down import down
from stack.commands.status_report import StatusReport, gather
from stack.layout import Layout, layout
from stack.supervision.lock import alone
from stack.supervision.orphans import orphans
from stack.supervision.process import Process
from stack.supervision.process_table import processes
from stack.supervision.supervisor import Supervisor


def running_report(settings: Settings) -> StatusReport:
    """The status of what runs.

    Raises:
        FatalError: nothing does, or only what a dead supervisor left.
    """
    paths = layout(settings)
    table = processes(settings, paths)
    supervisor = Supervisor(paths)
    if not supervisor.is_running():
        require_no_orphans(settings, paths, table)
        raise FatalError("the lake is not running: tradelake up starts it")
    states = supervisor.states()
    report = gather(settings, [process for process in table if process.name in states], states)
    missing = [process.name for process in table if process.name not in states]
    faults = [f"{name} was never started: tradelake up starts it" for name in missing]
    faults += [f"{one} runs without the supervisor: tradelake down ends it" for one in orphans(settings, paths, table)]
    return replace(report, faults=(*faults, *report.faults))


def require_no_orphans(settings: Settings, paths: Layout, table: Sequence[Process]) -> None:
    """Checks that nothing of the lake runs without its supervisor.

    Raises:
        FatalError: something does; the message names it and the remedy.
    """
    if left := orphans(settings, paths, table):
        raise FatalError(
            f"the lake's supervisor is gone, but these run on without it: {', '.join(map(str, left))}; "
            "tradelake up ends them and starts the lake, tradelake down only ends them"
        )


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
    with alone(paths, "tradelake down"):
        down(settings, paths, processes(settings, paths), say)
