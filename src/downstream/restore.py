"""Restores backed-up days into QuestDB; checks files before and tables after writing against the manifests."""

import logging
import re
import time
from collections.abc import Container
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from datetime import time as datetime_time
from functools import partial

import polars as pl

from downstream.archive.archive import backed_up, load, read_manifest
from downstream.archive.manifest import DayFile, Manifest, rows_in
from downstream.archive.prefetch import one_ahead
from downstream.archive.tables import BY_NAME, LAKE_TABLES
from downstream.backup import parts
from lakehouse.errors import FatalError, RetryableError
from lakehouse.retention import dropped_days, note
from lakehouse.schema import META_RETENTION, Table
from lakehouse.settings import Settings
from lakehouse.stores import bronze, kafka
from lakehouse.stores.objects import Objects
from lakehouse.stores.questdb import QuestDB
from lakehouse.views import views

log = logging.getLogger(__name__)
SLICE_ROWS = 100_000
# How far the times differ at most that REST and the WebSocket give one trade.
BESIDE = timedelta(seconds=1)
VIEWS_S = 600.0


@dataclass(frozen=True, slots=True)
class RestoreReport:
    """The result of a restore: files, rows, and the days restored (ISO, inclusive)."""

    files: int
    rows: int
    first_day: str
    last_day: str


def restore(
    questdb: QuestDB,
    objects: Objects,
    day: date | None = None,
    prefix: str = "",
    tables: Container[str] | None = None,
) -> RestoreReport:
    """Writes the day files of ``day`` (None: all days) into their tables, or into tables named ``prefix`` + name.

    Existing rows stay unchanged: deduplication makes a second run harmless, and trades whose ids the table holds, e.g.
    from REST, which gives them slightly different times, are skipped.

    Args:
        tables: only these (None: every backed-up table).

    Raises:
        RetryableError: a store is down; run it again. FatalError: there is no backup, a file contradicts its manifest,
            or a table ends with other rows than the backup.
    """
    known = (part for part in backed_up(objects, day) if tables is None or part.table in tables)
    chosen = sorted(known, key=lambda part: (part.table, part.day, part.symbol or ""))
    if not chosen:
        raise FatalError(f"bucket {objects.bucket} holds no complete backup of {day or 'any day'}: check S3_BUCKET")
    rows = 0
    for part, manifest, frame in one_ahead(partial(_fetch, objects), chosen):
        write(questdb, part, manifest, frame, prefix)
        rows += manifest.rows
    return RestoreReport(len(chosen), rows, *(f(p.day for p in chosen).isoformat() for f in (min, max)))


def _fetch(objects: Objects, part: DayFile) -> tuple[DayFile, Manifest, pl.DataFrame]:
    manifest = read_manifest(objects, part)
    if manifest is None:
        raise RetryableError(f"{part.manifest_key} was removed during the restore: run it again")
    return part, manifest, load(objects, part, manifest)


def target(part: DayFile, manifest: Manifest, prefix: str) -> Table:
    """The table to restore into: the current definition plus any further column of the backup."""
    held = manifest.table(part)
    now = BY_NAME.get(part.table)
    if now is None:
        return replace(held, name=prefix + part.table)
    more = tuple(column for column in held.columns if column.name not in now.names)
    return replace(now, name=prefix + part.table, columns=(*now.columns, *more))


def write(questdb: QuestDB, part: DayFile, manifest: Manifest, frame: pl.DataFrame, prefix: str) -> None:
    """Writes a day file's rows, then compares the table's rows of that day and symbol with the manifest.

    Raises:
        FatalError: the table lacks rows of the backup or holds others; tables with trade ids may not hold more either.
    """
    table = target(part, manifest, prefix)
    questdb.migrate([table], ())
    questdb.wait_applied([table.name])
    numbered = "trade_id" in table.keys
    missing, beside = _without_held_trades(questdb, table, part, frame) if numbered else (frame, 0)
    for piece in missing.iter_slices(SLICE_ROWS):
        questdb.write(table, piece)
    there = parts(questdb, replace(manifest.table(part), name=table.name), date.max, part.day)
    found = {p.symbol: fingerprint for p, fingerprint in there}.get(part.symbol, "0")
    rows = rows_in(found)
    if not _agrees(found, manifest, beside, numbered, missing.height < frame.height):
        raise FatalError(
            f"{table.name} holds {rows} rows of {part.symbol} on {part.day} ({found}), "
            f"the backup {manifest.rows} ({manifest.fingerprint}): remove the other rows, or restore --into scratch_"
        )
    log.info("restored %s into %s: %d rows", part.folder, table.name, manifest.rows)


def _agrees(found: str, manifest: Manifest, beside: int, numbered: bool, skipped: bool) -> bool:
    """Whether the table's fingerprint of the day is the backup's, as far as skipped trades let it be."""
    surplus = rows_in(found) + beside - manifest.rows
    if surplus:
        return surplus > 0 and not numbered
    return skipped or found == manifest.fingerprint


def _without_held_trades(
    questdb: QuestDB, table: Table, part: DayFile, frame: pl.DataFrame
) -> tuple[pl.DataFrame, int]:
    """The trades whose ids the table does not hold yet, and how many of the others it holds beyond midnight."""
    start = datetime.combine(part.day, datetime_time(), UTC)
    near = bronze.within(part.symbol or "", start - BESIDE, start + timedelta(days=1) + BESIDE)
    held = questdb.frame(f"SELECT ts, trade_id FROM {table.name} WHERE {near}").unique("trade_id")
    known = held.join(frame.select("trade_id"), on="trade_id", how="semi")
    missing = frame.join(held.select("trade_id"), on="trade_id", how="anti", maintain_order="left")
    if skipped := frame.height - missing.height:
        log.info("%s: skipped %d of %d trades that %s holds", part.folder, skipped, frame.height, table.name)
    return missing, known.filter(pl.col("ts").dt.date() != part.day).height


def rebuild_views(questdb: QuestDB, interval_ms: int, timeout_s: float = VIEWS_S) -> None:
    """Creates missing tables and views, and waits until the materialized views are up to date.

    Raises:
        RetryableError: they are not after ``timeout_s``. FatalError: one is invalid.
    """
    questdb.migrate((*LAKE_TABLES, META_RETENTION), views(interval_ms))
    deadline = time.monotonic() + timeout_s
    query = (
        "SELECT view_name, view_status, invalidation_reason, refresh_base_table_txn, base_table_txn "
        "FROM materialized_views()"
    )
    while True:
        state = questdb.rows(query)
        if invalid := [f"{name} ({why})" for name, status, why, *_ in state if status == "invalid"]:
            raise FatalError(
                f"invalid views: {', '.join(invalid)}: REFRESH MATERIALIZED VIEW name FULL, finer ones first"
            )
        behind = [name for name, _, _, refreshed, base in state if refreshed != base]
        if not behind:
            return
        if time.monotonic() > deadline:
            raise RetryableError(f"views not up to date after {timeout_s:g} s: {', '.join(behind)}")
        time.sleep(0.1)


def restore_lake(settings: Settings, day: date | None = None, prefix: str = "") -> RestoreReport:
    """One restore with its own clients; into live tables, it also makes the views and lifts the refusal of the days.

    Raises:
        FatalError: a consumer is running, which would not know the ids of the restored trades.
        RetryableError: a server is down; live tables also need Kafka, which knows whether a consumer is running.
    """
    if not re.fullmatch(r"[a-z0-9_]*", prefix):
        raise FatalError(f"--into {prefix}: want lower-case letters, digits and underscores, e.g. scratch_")
    if not prefix:
        _no_consumer(settings)
    with closing(QuestDB(settings)) as questdb, closing(Objects(settings)) as objects:
        report = restore(questdb, objects, day, prefix)
        if not prefix:
            _no_consumer(settings)
            _lift_refusals(questdb, day)
            rebuild_views(questdb, settings.feature_interval_ms)
            _no_consumer(settings)
        return report


def _lift_refusals(questdb: QuestDB, day: date | None) -> None:
    questdb.migrate([META_RETENTION], ())
    for table, days in dropped_days(questdb).items():
        if back := sorted(d for d in days if day in (None, d)):
            note(questdb, table, back, False, datetime.now(UTC))


def _no_consumer(settings: Settings) -> None:
    # Ask Kafka, which knows every consumer wherever it runs; the port of one in a container is not visible here.
    if found := kafka.members(kafka.admin(settings)):
        raise FatalError(
            f"{found} consumer(s) of group {kafka.GROUP} would not know the restored trade ids: stop them, "
            f"restore, start them again (a killed one counts for {kafka.SESSION_S} s more)"
        )
