"""Starts the lake: secrets, choice of market, configurations, supervisor; waits for health and for data."""

import os
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from dotenv import dotenv_values

from lakehouse.disk import free_mb
from lakehouse.errors import FatalError
from lakehouse.settings import Settings, load_settings
from stack import envfile, source
from stack.commands import formatting
from stack.commands.status_report import StatusReport, gather, table_reports
from stack.layout import Layout, layout
from stack.servers import ports
from stack.servers.optional_servers import prepare as prepare_full
from stack.servers.preparation import MIN_FREE_MB, prepare, write_private
from stack.supervision.launch import Launch
from stack.supervision.lock import alone
from stack.supervision.orphans import end_orphans
from stack.supervision.process import Process
from stack.supervision.process_table import processes
from stack.supervision.supervisor import Supervisor

Say = Callable[[str], None]
FLOW_S = 120.0


@dataclass(frozen=True, slots=True)
class UpReport:
    """What runs now, and the same for people."""

    status: StatusReport
    text: str


def up(asked_source: str, full: bool, say: Say) -> UpReport:
    """Starts what is not running and waits until everything is healthy; idempotent.

    Raises:
        FatalError: something prevents the start; the message names it and the remedy.
        RetryableError: another start or stop of this lake is under way.
    """
    with alone(layout(load_settings()), "tradelake up"):
        return _up_alone(asked_source, full, say)


def _up_alone(asked_source: str, full: bool, say: Say) -> UpReport:
    begun = time.monotonic()
    make_secrets(say)
    settings, paths, supervisor = _settle(asked_source, say)
    if full and not paths.full_record.exists():
        paths.state.mkdir(parents=True, exist_ok=True)
        paths.full_record.touch()
    table = processes(settings, paths)
    started = _start(settings, paths, supervisor, table, say)
    if started:
        _wait_for_data(settings, say)
    report = gather(settings, table, supervisor.states())
    shown = formatting.where_things_are(settings, table, report)
    if not report.healthy:
        say(shown)
        raise FatalError("not everything is healthy: see tradelake status and tradelake logs NAME")
    took = f"{'up' if started else 'was already running'}, all healthy, after {time.monotonic() - begun:.0f} s"
    return UpReport(report, f"{shown}\n{took}")


def make_secrets(say: Say) -> None:
    """Writes `.env` on the first start and adds secrets that newer settings need; never changes one."""
    path = Path(os.environ.get("ENV_FILE", ".env"))
    before = path.read_text() if path.exists() else ""
    after = envfile.completed(before, lambda: secrets.token_hex(16))
    if after != before:
        write_private(path, after)
        say(f"wrote {path} with {'new' if before else 'generated'} secrets (only you can read it)")


def _settle(asked: str, say: Say) -> tuple[Settings, Layout, Supervisor]:
    """Chooses the market, records it, and returns the settings and layout that follow."""
    draft = load_settings()
    supervisor = Supervisor(layout(draft))
    record = layout(draft).source_record
    recorded = record.read_text().strip() if record.exists() else None
    env_file = dotenv_values(os.environ.get("ENV_FILE", ".env"))
    configured = os.environ.get("SOURCE") or env_file.get("SOURCE")
    chosen, why = source.choose(asked, configured, recorded, supervisor.is_running(), draft.kraken_rest_url)
    settings = load_settings(source=chosen)
    paths = layout(settings)
    if chosen == "simulator":
        _keep_market(settings, paths.market_record)
    say(f"market: {chosen}: {why}")
    record.parent.mkdir(parents=True, exist_ok=True)
    record.write_text(chosen + "\n")
    return settings, paths, supervisor


def _keep_market(settings: Settings, record: Path) -> None:
    """Records the simulated market when the lake is made; refuses another one later."""
    parameters = source.market_parameters(settings, record.read_text() if record.exists() else None)
    record.parent.mkdir(parents=True, exist_ok=True)
    record.write_text(parameters)


def _start(settings: Settings, paths: Layout, supervisor: Supervisor, table: Sequence[Process], say: Say) -> list[str]:
    """Starts what is not running, servers first; returns the names started."""
    _require_disk(paths)
    prepare(settings, paths)
    if paths.full_record.exists():
        prepare_full(settings, paths)
    supervisor.write_config(settings, table)
    if supervisor.is_running():
        if stopped := supervisor.update(table):
            say(f"settings changed: restarting {', '.join(stopped)}")
    else:
        end_orphans(settings, paths, table, say)
        ports.require_free(settings, table)
        supervisor.boot()
    states = supervisor.states()
    missing = [process for process in table if not states[process.name].pid]
    ports.require_free(settings, missing)
    Launch(settings, paths, supervisor, say).run(table)
    return [process.name for process in missing]


def _require_disk(paths: Layout) -> None:
    free = free_mb(paths.state)
    if free < MIN_FREE_MB:
        raise FatalError(f"{free} MB free at {paths.state}, {MIN_FREE_MB} needed: free some, or set VAR_DIR elsewhere")


def _wait_for_data(settings: Settings, say: Say) -> None:
    """Returns once new trades and new forecasts are stored."""
    before = table_reports(settings)
    begun = time.monotonic()
    for table, what in (("bronze_trades", "trades"), ("gold_forecasts", "forecasts")):
        while table_reports(settings).get(table) == before.get(table):
            if time.monotonic() - begun > FLOW_S:
                raise FatalError(f"no new {what} in {FLOW_S:g} s: see tradelake logs consumer, and producer")
            time.sleep(0.5)
        say(f"  {what} flow after {time.monotonic() - begun:.1f} s")
