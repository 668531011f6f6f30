"""What is wrong with a lake whose processes answer, read from QuestDB: halted tables, stale data, missing trades."""

from collections.abc import Callable, Container, Iterator, Sequence
from datetime import datetime

from lakehouse.errors import LakeError
from lakehouse.stores.halted import HaltedTable, halted
from lakehouse.stores.questdb import QuestDB
from stack.alerting.rules import (
    MAX_BACKUP_AGE_H,
    MAX_DRILL_AGE_H,
    MAX_FEATURE_AGE_S,
    MAX_HOLE_MIN,
    MAX_TRADE_AGE_MIN,
)

# Quotes newer than this count as flowing.
FLOWING_S = 60.0
MAX_FORECAST_DELAY_S = 300.0


def lake_faults(database: QuestDB, tables: Container[str], symbols: Sequence[str], now: datetime) -> list[str]:
    """One line per fault, with the remedy; a fact that cannot be read is a fault as well.

    Args:
        tables: the tables that exist; a lake that is being made lacks some.
        now: UTC.
    """
    reads: tuple[tuple[str, Callable[[], list[str]]], ...] = (
        ("", lambda: halted_faults(halted(database))),
        ("bronze_completeness", lambda: _holes(database)),
        ("bronze_quotes", lambda: [line for symbol in symbols for line in _stale(database, symbol, now)]),
        ("gold_forecasts", lambda: _forecasts(database)),
        ("gold_quality", lambda: _saves(database, now)),
    )
    found: list[str] = []
    for needs, read in reads:
        if needs and needs not in tables:
            continue
        try:
            found += read()
        except LakeError as error:
            found.append(f"unknown: {error}")
    return found


def halted_faults(found: Sequence[HaltedTable]) -> list[str]:
    """A line per halted table; pure."""
    return [
        f"{one.name} is {one.state}{f' ({one.reason})' if one.reason else ''}: "
        + (
            "days left its base table: restore them first (docs/runbooks/restore.md), then, in QuestDB's console: "
            if one.base_left
            else "the consumer resumes it when the disk has room; by hand, in QuestDB's console: "
        )
        + one.remedy
        for one in found
    ]


def flow_faults(symbol: str, trade_s: float | None, quote_s: float | None, feature_s: float | None) -> list[str]:
    """What the ages in seconds of a symbol's newest rows say; None: there is no row; pure.

    Without quotes the feed is silent, which is a fault of its own.
    """
    if quote_s is None or quote_s > FLOWING_S:
        return []
    found = []
    if trade_s is None or trade_s > 60 * MAX_TRADE_AGE_MIN:
        age = "none is stored" if trade_s is None else f"the newest is {trade_s / 60:.0f} min old"
        found.append(f"{symbol}: quotes flow, but no new trades ({age}): see tradelake logs producer")
    if feature_s is not None and feature_s > MAX_FEATURE_AGE_S:
        found.append(f"{symbol}: the newest feature row is {feature_s:.0f} s old: see tradelake logs consumer")
    return found


def _holes(database: QuestDB) -> list[str]:
    rows = database.rows(
        "SELECT symbol, sum(holes_inside + holes_before) FROM bronze_completeness "
        f"WHERE ts < dateadd('m', -{MAX_HOLE_MIN}, now()) GROUP BY symbol ORDER BY symbol"
    )
    return [
        f"{symbol}: {missing} trade ids are missing for more than {MAX_HOLE_MIN} min: tradelake repair fetches them"
        for symbol, missing in rows
        if missing is not None and missing > 0
    ]


def _stale(database: QuestDB, symbol: str, now: datetime) -> list[str]:
    tables = ("bronze_trades", "bronze_quotes", "silver_features")
    return flow_faults(symbol, *(_age_s(database, table, symbol, now) for table in tables))


def _age_s(database: QuestDB, table: str, symbol: str, now: datetime) -> float | None:
    rows = database.rows(f"SELECT ts FROM {table} WHERE symbol = %s ORDER BY ts DESC LIMIT 1", [symbol])
    return (now - rows[0][0]).total_seconds() if rows else None


def _forecasts(database: QuestDB) -> list[str]:
    (features, forecasts) = (
        _moment(database, f"SELECT max(ts) FROM {table}") for table in ("silver_features", "gold_forecasts")
    )
    if features is None:
        return []
    delay = MAX_FORECAST_DELAY_S + 1 if forecasts is None else (features - forecasts).total_seconds()
    if delay <= MAX_FORECAST_DELAY_S:
        return []
    return [f"feature rows arrive, but no forecast for {MAX_FORECAST_DELAY_S / 60:g} min: see tradelake logs predictor"]


def _saves(database: QuestDB, now: datetime) -> list[str]:
    """Backups and drills that are old or failed; a lake younger than the limit needs none yet."""
    began = _moment(database, "SELECT min(ts) FROM gold_forecasts")
    verified = "SELECT max(ts) FROM gold_quality WHERE measure = 'backup_verified'"
    drilled = f"{verified} AND detail LIKE 'drill%'"
    found = [
        *_old("no backup was verified", _moment(database, verified) or began, now, MAX_BACKUP_AGE_H, "backup"),
        *_old("no restore drill passed", _moment(database, drilled) or began, now, MAX_DRILL_AGE_H, "drill"),
    ]
    ended = database.rows(
        "SELECT feature, last(value) FROM gold_quality WHERE measure = 'task' AND ts > dateadd('d', -9, now()) "
        "GROUP BY feature ORDER BY feature"
    )
    return found + [f"the last run of {task} failed: see it in Airflow" for task, value in ended if not value]


def _moment(database: QuestDB, sql: str) -> datetime | None:
    """The one time that a query returns; QuestDB returns no row where the table is empty."""
    rows = database.rows(sql)
    return rows[0][0] if rows else None


def _old(what: str, since: datetime | None, now: datetime, max_h: float, command: str) -> Iterator[str]:
    hours = 0.0 if since is None else (now - since).total_seconds() / 3600
    if hours > max_h:
        yield f"{what} for {hours:.0f} h: tradelake {command}"
