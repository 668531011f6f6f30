"""Removes old days from QuestDB, but only days whose backup has just been read back."""

import logging
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from downstream.archive.archive import intact, read_manifest
from downstream.archive.manifest import DayFile
from downstream.archive.tables import BY_NAME
from downstream.backup import held_tables, parts
from lakehouse.errors import FatalError, NothingToDoError
from lakehouse.retention import REFRESH_S, note
from lakehouse.schema import Table
from lakehouse.settings import Settings
from lakehouse.stores.objects import Objects
from lakehouse.stores.questdb import QuestDB

log = logging.getLogger(__name__)
# The tables that grow with the market; the others are small and are kept.
LEAVING = tuple(
    BY_NAME[name]
    for name in ("bronze_trades", "bronze_quotes", "silver_features", "gold_forecasts", "gold_forecast_scores")
)
# Yesterday is replayed, and the longest window reaches another day back.
MIN_DAYS = 3
APPLY_S = 60.0


@dataclass(frozen=True, slots=True)
class RetentionReport:
    """Days removed per table, and the days kept because their backup is not verified."""

    left: dict[str, list[str]]
    held_back: dict[str, list[str]]


def apply(
    questdb: QuestDB,
    objects: Objects,
    days: int,
    now: datetime,
    settle: Callable[[], None] = lambda: time.sleep(REFRESH_S * 1.5),
) -> RetentionReport:
    """Drops the days older than ``days`` up to the first whose backup is missing, changed or unreadable.

    QuestDB's TTL is set only for the moment and then removed, so that days cannot expire while backups fail. (Unlike
    dropping partitions by hand, a TTL keeps materialized views valid.)

    Args:
        days: RETENTION_DAYS; 0 keeps everything.
        settle: waits until every writer has read which days are refused.

    Raises:
        RetryableError: a store is down. FatalError: too few days, or a TTL set by hand.
    """
    if 0 < days < MIN_DAYS:
        raise FatalError(f"RETENTION_DAYS={days}: want at least {MIN_DAYS}, because a replay needs the day before")
    left: dict[str, list[str]] = {}
    held: dict[str, list[str]] = {}
    for table in held_tables(questdb, LEAVING):
        _no_ttl(questdb, table)
        if not days:
            continue
        cut = now.date() - timedelta(days=days)
        ready, unverified = verified_days(questdb, objects, table, cut)
        held[table.name] = [day.isoformat() for day in unverified]
        if ready:
            left[table.name] = [day.isoformat() for day in _leave(questdb, table, ready, unverified, cut, now, settle)]
    return RetentionReport(left, {name: stuck for name, stuck in held.items() if stuck})


def verified_days(questdb: QuestDB, objects: Objects, table: Table, cut: date) -> tuple[list[date], list[date]]:
    """The days before ``cut`` that may be removed (all before the first unverified one), and the unverified ones."""
    good: dict[date, bool] = {}
    for part, fingerprint in parts(questdb, table, cut):
        good[part.day] = good.get(part.day, True) and _verified(objects, part, fingerprint)
    unverified = [day for day, fine in good.items() if not fine]
    return [day for day in good if not unverified or day < min(unverified)], unverified


def _verified(objects: Objects, part: DayFile, fingerprint: str) -> bool:
    manifest = read_manifest(objects, part)
    return manifest is not None and manifest.fingerprint == fingerprint and intact(objects, part, manifest)


def _leave(
    questdb: QuestDB,
    table: Table,
    ready: list[date],
    unverified: list[date],
    cut: date,
    now: datetime,
    settle: Callable[[], None],
) -> list[date]:
    """Refuses new rows first, checks again, then drops: a row that arrived in between keeps its day."""
    before = dict(parts(questdb, table, cut))
    note(questdb, table.name, ready, True, now)
    settle()
    end = min([*unverified, cut])
    try:
        after = dict(parts(questdb, table, cut))
        changed = [part.day for part in after if before.get(part) != after[part]]
        end = min([*changed, end])
        _drop_before(questdb, table, end, now)
    finally:
        stayed = {part.day for part, _ in parts(questdb, table, cut)} & set(ready)
        if stayed:
            note(questdb, table.name, sorted(stayed), False, now)
    return [day for day in ready if day not in stayed]


def _drop_before(questdb: QuestDB, table: Table, end: date, now: datetime) -> None:
    """Drops every whole day before ``end``; QuestDB keeps more days while the newest row is older than the clock."""
    questdb.execute(f"ALTER TABLE {table.name} SET TTL {(now.date() - end).days} DAYS")
    try:
        questdb.wait_applied([table.name], APPLY_S)
    finally:
        _no_ttl(questdb, table)


def _no_ttl(questdb: QuestDB, table: Table) -> None:
    questdb.execute(f"ALTER TABLE {table.name} SET TTL 0 DAYS")
    questdb.wait_applied([table.name], APPLY_S)


def retain(settings: Settings) -> RetentionReport:
    """Applies RETENTION_DAYS with its own clients: what the command and the DAG call.

    Raises:
        FatalError: a day is old enough to be removed but its backup is not verified.
        NothingToDoError: no day is to be removed (a TTL set by hand is removed all the same).
    """
    with closing(QuestDB(settings)) as questdb, closing(Objects(settings)) as objects:
        report = apply(questdb, objects, settings.retention_days, datetime.now(UTC))
    if report.held_back:
        raise FatalError(f"kept days without a verified backup: {report.held_back}; see the log of backup_daily")
    if not report.left:
        raise NothingToDoError(f"no days to remove: RETENTION_DAYS={settings.retention_days}")
    return report
