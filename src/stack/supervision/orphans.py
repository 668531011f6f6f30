"""Processes of a lake that run on without its supervisor, as after its kill -9: which they are, and their end."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import psutil

from lakehouse.settings import Settings
from stack.layout import Layout
from stack.servers.ports import is_supervised, leftovers, supervisor_url
from stack.supervision.process import Process
from stack.supervision.supervisor import STOP_WAIT_S


@dataclass(frozen=True, slots=True)
class Orphan:
    """A process of the lake, by its name in the process table, that no supervisor restarts or stops."""

    name: str
    process: psutil.Process

    def __str__(self) -> str:
        return f"{self.name} (pid {self.process.pid})"


def orphans(settings: Settings, paths: Layout, table: Sequence[Process]) -> list[Orphan]:
    """The lake's orphans, in the order in which they are to be stopped."""
    found = {process.pid: Orphan(name, process) for name, process in leftovers(settings, paths, table).items()}
    found |= {one.process.pid: one for one in _started_by_its_supervisor(paths)}
    stages = {process.name: process.stop_stage for process in table}
    return sorted(found.values(), key=lambda one: (stages.get(one.name, 0), one.name))


def end_orphans(
    settings: Settings, paths: Layout, table: Sequence[Process], say: Callable[[str], None], stop_s: float = STOP_WAIT_S
) -> None:
    """Ends the lake's orphans with their children, a stop stage after another: SIGTERM, then SIGKILL."""
    stages = {process.name: process.stop_stage for process in table}
    found = orphans(settings, paths, table)
    for stage in sorted({stages.get(one.name, 0) for one in found}):
        ending = [one for one in found if stages.get(one.name, 0) == stage]
        say(f"  ending what its supervisor left: {', '.join(map(str, ending))}")
        _end([one.process for one in ending], stop_s)


def _started_by_its_supervisor(paths: Layout) -> list[Orphan]:
    """By the environment that supervisord gives its programs, which their children inherit."""
    url = supervisor_url(paths)
    ours = {}
    for process in psutil.process_iter():
        try:
            environment = process.environ()
        except (psutil.Error, OSError):
            continue
        if environment.get("SUPERVISOR_SERVER_URL") == url:
            ours[process.pid] = Orphan(environment.get("SUPERVISOR_PROCESS_NAME", "process"), process)
    return [one for one in ours.values() if _has_lost_its_parent(one.process, ours)]


def _has_lost_its_parent(process: psutil.Process, ours: dict[int, Orphan]) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE and process.ppid() not in ours and not is_supervised(process)
    except psutil.Error:
        return False


def _end(roots: Sequence[psutil.Process], stop_s: float) -> None:
    everyone = list(roots)
    for root in roots:
        try:
            everyone += root.children(recursive=True)
            root.terminate()
        except psutil.NoSuchProcess:
            continue
    # Children get the time to end with their parent; what is left after it is killed.
    _, left = psutil.wait_procs(everyone, stop_s)
    for process in left:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(left, stop_s)
