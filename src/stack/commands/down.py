"""Stops the lake in an order that loses nothing."""

import time
from collections.abc import Callable, Sequence

from lakehouse.settings import Settings
from stack.commands.status_report import consumer_lag
from stack.layout import Layout
from stack.supervision.orphans import end_orphans
from stack.supervision.process import Process
from stack.supervision.supervisor import Supervisor

DRAIN_S = 8.0


def down(settings: Settings, paths: Layout, table: Sequence[Process], say: Callable[[str], None]) -> None:
    """Stops the source, lets the consumer finish, then stops our processes and the servers; idempotent."""
    supervisor = Supervisor(paths)
    if not supervisor.is_running():
        say("no supervisor is running")
    else:
        _stop_in_order(settings, supervisor, table, say)
        supervisor.shut_down()
    end_orphans(settings, paths, table, say)
    say("down")


def _stop_in_order(
    settings: Settings, supervisor: Supervisor, table: Sequence[Process], say: Callable[[str], None]
) -> None:
    running = {name for name, state in supervisor.states().items() if state.pid}
    stages = {p.name: p.stop_stage for p in table}
    for stage in sorted({stages.get(name, 0) for name in running}):
        names = sorted(name for name in running if stages.get(name, 0) == stage)
        if "consumer" in names:
            _drain(settings, say)
        begun = time.monotonic()
        supervisor.stop(names)
        say(f"  stopped {', '.join(names)} in {time.monotonic() - begun:.1f} s")


def _drain(settings: Settings, say: Callable[[str], None]) -> None:
    """Waits until the consumer has stored what the log holds; Kafka keeps what it cannot store in time."""
    deadline = time.monotonic() + DRAIN_S
    while (lag := consumer_lag(settings)) and time.monotonic() < deadline:
        time.sleep(0.2)
    if lag:
        say(f"  {lag} records stay in Kafka; the consumer takes them at the next start")
