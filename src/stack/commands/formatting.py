"""Formats reports as tables for people; pure."""

from collections.abc import Container, Sequence

from lakehouse.ledger import Summary
from lakehouse.settings import Settings
from lakehouse.text_table import columns
from stack.alerting.alertmanager import recipients
from stack.commands.feed_status import FeedReport
from stack.commands.status_report import StatusReport
from stack.envfile import secret_names
from stack.supervision.process import Process


def where_things_are(settings: Settings, table: Sequence[Process], report: StatusReport) -> str:
    """The running processes and the addresses to open."""
    rows = [("PROCESS", "HEALTH", "PORT", "MEMORY", "WHAT")]
    for process in table:
        found = report.processes[process.name]
        port = str(next(iter(found.ports.values()), ""))
        health = "healthy" if found.healthy else "UNHEALTHY"
        rows.append((process.name, health, port, f"{found.memory_mb:.0f} MB", process.about))
    pages = addresses(settings, report.processes)
    return f"\n{columns(rows)}\n\n{pages}\nmemory in all: {report.memory_mb:.0f} MB (PSS)\n"


def addresses(settings: Settings, running: Container[str]) -> str:
    """The web pages of the running processes, and how to see the passwords."""
    rows = [
        ("live page and API", settings.api_url),
        ("QuestDB console", f"http://{settings.questdb_host}:{settings.questdb_http_port}"),
        ("MLflow", settings.mlflow_uri),
    ]
    if "airflow" in running:
        rows.append(("Airflow", f"http://{settings.airflow_host}:{settings.airflow_port}"))
    if "prometheus" in running:
        rows.append(("Prometheus", f"http://{settings.bind_host}:{settings.prometheus_port}"))
        told = ", ".join(recipients(settings)) or "nobody: set ALERT_EMAIL or another of docs/alerts.md in .env"
        rows.append(("alerts", f"http://{settings.bind_host}:{settings.alertmanager_port} (told to {told})"))
    if settings.object_store == "minio" and "object-store" in running:
        rows.append(("MinIO console", f"http://{settings.bind_host}:{settings.minio_console_port}"))
    lines = [f"{name:<18} {url}" for name, url in rows]
    return "\n".join((*lines, "passwords: tradelake status --secrets"))


def status(report: StatusReport) -> str:
    """``status`` for a person: processes, then tables."""
    rows = [("PROCESS", "STATE", "HEALTH", "PID", "UPTIME", "MEMORY", "LAG", "DETAIL")]
    for name, p in report.processes.items():
        health = "healthy" if p.healthy else "UNHEALTHY"
        lag = "" if p.lag is None else str(p.lag)
        memory = f"{p.memory_mb:.0f} MB"
        rows.append((name, p.state, health, str(p.pid or ""), _duration(p.uptime_s), memory, lag, p.detail[:80]))
    tables = [("TABLE", "ROWS", "NEWEST EVENT (UTC)")]
    tables += [(name, f"{t.rows:,}", t.newest or "") for name, t in report.tables.items()]
    total = f"market: {report.source}; memory in all: {report.memory_mb:.0f} MB (PSS)"
    faults = "\n".join(f"FAULT: {line}" for line in report.faults)
    parts = [columns(rows), columns(tables), ledger(report.ledger), feed(report.feed), total, faults]
    return "\n\n".join(part for part in parts if part)


def ledger(summaries: Sequence[Summary]) -> str:
    """Per symbol, minutes proved complete and missing ids."""
    if not summaries:
        return ""
    rows = [("LEDGER", "TRADES", "MINUTES", "COMPLETE", "MISSING IDS", "DOUBLED", "CAME BY")]
    for one in summaries:
        came = ", ".join(f"{name} {count:,}" for name, count in one.by_source.items() if count)
        missing = "ids not dense" if one.missing is None else str(one.missing)
        rows.append(
            (
                one.symbol,
                f"{one.trades:,}",
                str(one.minutes),
                str(one.complete_minutes),
                missing,
                str(one.doubles),
                came,
            )
        )
    return columns(rows)


def feed(report: FeedReport | None) -> str:
    """The connection to the exchange in one line, followed by its problems."""
    if report is None:
        return ""
    frame = "no frame yet" if report.last_frame_s is None else f"last frame {report.last_frame_s:g} s ago"
    word = "connected" if report.connected else "NOT CONNECTED"
    lines = [f"feed: {word}, exchange {report.exchange or 'has not said how it is'}, {frame}"]
    lost = ", ".join(f"{reason} {count}" for reason, count in report.lost.items() if count)
    lines += [f"  connections lost since the producer's start: {lost}"] if lost else []
    lines += [f"  {key}: {state}" for key, state in report.subscriptions.items() if state != "delivering"]
    lines += [f"  {symbol}: asking for {count} missing trade ids" for symbol, count in report.holes.items() if count]
    return "\n".join(lines)


def secrets(settings: Settings) -> str:
    """Users and passwords."""
    rows = [("SETTING", "VALUE")]
    names = ["questdb_user", "questdb_reader", "s3_admin_user", "airflow_user", *secret_names()]
    for name in names:
        value = getattr(settings, name)
        rows.append((name.upper(), value if isinstance(value, str) else value.get_secret_value()))
    return columns(rows)


def _duration(seconds: int) -> str:
    hours, rest = divmod(seconds, 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if seconds else ""
