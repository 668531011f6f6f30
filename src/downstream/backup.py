"""Backs up whole UTC days: from QuestDB to Parquet in the object store, read back before the manifest is written."""

import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from functools import partial
from itertools import groupby

import orjson
import polars as pl

from downstream.archive.archive import backed_up, check, intact, load, read_manifest
from downstream.archive.manifest import DayFile, Manifest, canonical, describe, encode, fingerprint_sql, rows_in
from downstream.archive.prefetch import one_ahead
from downstream.archive.tables import LAKE_TABLES
from lakehouse.errors import FatalError, NothingToDoError
from lakehouse.findings import Finding, note
from lakehouse.schema import Column, Table
from lakehouse.settings import Settings
from lakehouse.stores.bronze import text
from lakehouse.stores.objects import Objects
from lakehouse.stores.questdb import QuestDB

log = logging.getLogger(__name__)
# Day files encoded, sent and read back in parallel.
PARALLEL = 2
# Values exported at once; a run needs a few times 8 bytes of memory for each.
BATCH_CELLS = 20_000_000
MARKER = "_lake.json"


@dataclass(frozen=True, slots=True)
class ExportUnit:
    """Day files of one table and day that are exported together; ``whole``: all of the day's."""

    parts: tuple[DayFile, ...]
    whole: bool


@dataclass(frozen=True, slots=True)
class BackupReport:
    """The result of a backup.

    Attributes:
        written: day files exported because they were new or changed.
        rows: rows in those files.
        size: bytes in those files.
        unchanged: day files whose backup already holds the same rows.
        last_day: newest backed-up day, ISO; empty if there is none.
    """

    written: int
    rows: int
    size: int
    unchanged: int
    last_day: str


def run(
    questdb: QuestDB,
    objects: Objects,
    source: str,
    day: date | None = None,
    tables: Iterable[Table] = LAKE_TABLES,
    today: date | None = None,
) -> BackupReport:
    """Backs up every whole day whose rows differ from its backup, including missed days, or only ``day``.

    The files of the newest of these days are read back even if nothing changed, and rewritten if they are damaged.

    Raises:
        RetryableError: a store is down; finished files stay valid, and the next run continues from there.
        FatalError: a backup does not read back, or the lake holds fewer rows than its backup.
    """
    today = today or datetime.now(UTC).date()
    if day is not None and day >= today:
        raise FatalError(f"{day} has not ended: only whole UTC days are backed up")
    claim(objects, source)
    written: list[Manifest] = []
    seen: list[DayFile] = []
    for table in held_tables(questdb, tables):
        found = dict(parts(questdb, table, today, day))
        written += export(questdb, objects, table, batches(found, stale_parts(objects, found), table))
        seen += found
    last_day = max((part.day.isoformat() for part in seen), default="")
    _check_others(objects, seen)
    rows, size = sum(m.rows for m in written), sum(m.size for m in written)
    return BackupReport(len(written), rows, size, len(seen) - len(written), last_day)


def _check_others(objects: Objects, seen: list[DayFile]) -> None:
    """Reads back the newest day's files that the lake no longer holds, since they could not be rewritten."""
    newest = max((part.day for part in seen), default=None)
    for part in set(backed_up(objects, newest)) - set(seen) if newest else ():
        if manifest := read_manifest(objects, part):
            check(objects, part, manifest)


def claim(objects: Objects, source: str) -> None:
    """Marks the bucket as this market's, so that simulated and real rows never mix.

    Raises:
        FatalError: it holds another market's backups.
    """
    found = objects.get(MARKER)
    if found is None:
        objects.put(MARKER, orjson.dumps({"source": source}))
    elif (holds := orjson.loads(found)["source"]) != source:
        raise FatalError(
            f"bucket {objects.bucket} holds backups of {holds}, this lake is {source}: set S3_BUCKET to another bucket"
        )


def held_tables(questdb: QuestDB, tables: Iterable[Table]) -> Iterator[Table]:
    """The existing tables with the server's columns: ours in our order, then any others by name."""
    wanted = {table.name: table for table in tables}
    existing = {row[0] for row in questdb.rows("SELECT table_name FROM tables()")}
    for table in (t for name, t in wanted.items() if name in existing):
        held = dict(questdb.rows(f"SELECT \"column\", type FROM table_columns('{table.name}')"))
        ours = [column for column in table.columns if column.name in held]
        others = [Column(name, held[name], "") for name in sorted(held.keys() - set(table.names))]
        yield replace(table, columns=(*ours, *others))


def parts(questdb: QuestDB, table: Table, today: date, day: date | None = None) -> Iterator[tuple[DayFile, str]]:
    """Every day file of a table before ``today`` (or only ``day``'s) with the current fingerprint of its rows."""
    questdb.wait_applied([table.name])
    span = f"ts < '{today}'" if day is None else f"ts IN '{day}'"
    named = "symbol" in table.names
    for found, name, *figures in questdb.rows(
        f"SELECT timestamp_floor('d', ts) day, {'symbol' if named else 'NULL'}, {fingerprint_sql(table)} "
        f"FROM {table.name} WHERE {span} GROUP BY day{', symbol' if named else ''} ORDER BY day"
    ):
        yield DayFile(table.name, table.layer, found.date(), name), ":".join(str(f or 0) for f in figures)


def stale_parts(objects: Objects, found: dict[DayFile, str]) -> list[DayFile]:
    """The day files whose backup is missing, incomplete or of other rows; on the newest day also damaged files."""
    with ThreadPoolExecutor(8) as pool:
        manifests = dict(zip(found, pool.map(lambda part: read_manifest(objects, part), found), strict=True))
    newest = max((part.day for part in found), default=None)
    return [
        part
        for part, held in manifests.items()
        if held is None or held.fingerprint != found[part] or (part.day == newest and not intact(objects, part, held))
    ]


def batches(found: dict[DayFile, str], stale: list[DayFile], table: Table) -> Iterator[ExportUnit]:
    """Groups stale day files for export: of one day each, and of at most `BATCH_CELLS` values; pure."""
    cells = {part: rows_in(fingerprint) * len(table.columns) for part, fingerprint in found.items()}
    days = Counter(part.day for part in found)
    for day, of_day in groupby(sorted(stale, key=lambda part: part.day), lambda part: part.day):
        chosen: list[DayFile] = []
        for part in of_day:
            if chosen and sum(cells[p] for p in (*chosen, part)) > BATCH_CELLS:
                yield ExportUnit(tuple(chosen), whole=False)
                chosen = []
            chosen.append(part)
        yield ExportUnit(tuple(chosen), whole=len(chosen) == days[day])


def export(questdb: QuestDB, objects: Objects, table: Table, groups: Iterable[ExportUnit]) -> list[Manifest]:
    """Writes day files, reads each back, then writes its manifest; exports the next group meanwhile.

    Raises:
        RetryableError: a store is down. FatalError: a file reads back differently, or a backup holds rows that the
            lake lacks: overwriting it would lose them.
    """
    written: list[Manifest] = []
    with ThreadPoolExecutor(PARALLEL) as pool:
        for group, rows in one_ahead(partial(_fetch, questdb, table), groups):
            written += pool.map(partial(_store, objects, table, rows), group.parts)
    return written


def _fetch(questdb: QuestDB, table: Table, group: ExportUnit) -> tuple[ExportUnit, pl.DataFrame]:
    """A group's rows. The server exports whole days at full speed; selecting symbols takes several times as long."""
    names = ", ".join(f'"{name}"' for name in table.names)
    chosen = "" if group.whole else f" AND ({' OR '.join(_where(part) for part in group.parts)})"
    return group, questdb.frame(f"SELECT {names} FROM {table.name} WHERE ts IN '{group.parts[0].day}'{chosen}")


def _where(part: DayFile) -> str:
    return "symbol IS NULL" if part.symbol is None else f"symbol = {text(part.symbol)}"


def _store(objects: Objects, table: Table, rows: pl.DataFrame, part: DayFile) -> Manifest:
    mine = rows.filter(pl.col("symbol").eq_missing(part.symbol)) if "symbol" in table.names else rows
    ordered = canonical(mine, table)
    _lose_nothing(objects, part, ordered)
    data = encode(ordered)
    stored = objects.put(part.data_key, data, "application/vnd.apache.parquet")
    back = objects.get(part.data_key, stored.version)
    if back != data:
        raise FatalError(f"{part.data_key} read back differs from what was written: check the object store's disk")
    manifest = describe(back, table, stored.version, part.data_key)
    if manifest.rows != mine.height:
        raise FatalError(f"{part.data_key} holds {manifest.rows} rows of {mine.height}: this release cannot write it")
    objects.put(part.manifest_key, manifest.dump(), "application/json")
    log.info("backed up %s: %d rows, %d bytes", part.folder, manifest.rows, manifest.size)
    return manifest


def _lose_nothing(objects: Objects, part: DayFile, rows: pl.DataFrame) -> None:
    """Refuses to replace a backup by rows that lack any of its own, by the table's keys."""
    manifest = read_manifest(objects, part)
    if manifest is None:
        return
    lost = max(manifest.rows - rows.height, 0)
    try:
        if manifest.keys:
            held = load(objects, part, manifest)
            lost = held.join(rows, on=manifest.keys, how="anti", nulls_equal=True).height
    except FatalError as error:
        log.warning("%s: this replaces it", error)
    if lost:
        raise FatalError(
            f"{part.folder} holds {manifest.rows} rows, {lost} of which are not in the lake: run "
            f"tradelake restore --day {part.day} first"
        )


def record(questdb: QuestDB, now: datetime, files: int, what: str) -> None:
    """Records in ``gold_quality`` that backups were verified now; the Prometheus metric is read from there."""
    note(questdb, now, [Finding("backup_verified", now.timestamp(), files, detail=what)])


def back_up(settings: Settings, day: date | None = None) -> BackupReport:
    """Runs one backup with its own clients and records it in ``gold_quality``; called by the command and the DAG.

    Raises:
        NothingToDoError: there is no whole day to back up.
    """
    with closing(QuestDB(settings)) as questdb, closing(Objects(settings)) as objects:
        report = run(questdb, objects, settings.source, day)
        if not report.written + report.unchanged:
            raise NothingToDoError(f"nothing to back up: the lake holds no rows of {day or 'any whole UTC day yet'}")
        record(questdb, datetime.now(UTC), report.written + report.unchanged, f"backup to {report.last_day}")
        return report
