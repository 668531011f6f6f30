"""Rebuilds silver rows from bronze in time order: for backfills, filled holes and new feature definitions."""

import logging
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from datetime import UTC, datetime, timedelta

import polars as pl
from tqdm import tqdm

from features.engine import EngineState, fold
from features.spec import LEAD_IN, EngineConfig, spec_hash
from features.table import SILVER
from ingestion.silver.engine_config import engine_config
from lakehouse.errors import FatalError
from lakehouse.schema import META_RUNS
from lakehouse.settings import Settings
from lakehouse.stores import bronze
from lakehouse.stores.questdb import QuestDB

log = logging.getLogger(__name__)
_MIN_PIECE = timedelta(minutes=1)
# Spans closer than this are rebuilt as one: each run has to fold a lead-in of more than a day.
NEAR = timedelta(hours=1)
# Pieces of one run: a rebuild that is stopped loses at most these.
RUN_PIECES = 2
TimeSpan = tuple[datetime, datetime]
ProgressCallback = Callable[[timedelta], object]
PublishedCallback = Callable[[datetime], object]


def merged(spans: Iterable[TimeSpan], near: timedelta = NEAR) -> list[TimeSpan]:
    """Sorts spans and merges those that overlap or lie within ``near`` of each other.

    >>> at = datetime(2026, 9, 25, tzinfo=UTC)
    >>> len(merged([(at, at), (at + NEAR, at + 2 * NEAR), (at + 4 * NEAR, at + 5 * NEAR)]))
    2
    """
    found: list[TimeSpan] = []
    for start, end in sorted(spans):
        if found and start <= found[-1][1] + near:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((start, end))
    return found


def rebuild(
    questdb: QuestDB,
    config: EngineConfig,
    symbol: str,
    start: datetime,
    end: datetime,
    progress: ProgressCallback | None = None,
    published: PublishedCallback | None = None,
) -> int:
    """Folds bronze into silver rows of ``start <= ts < end`` with ``origin=rebuilt`` and new run numbers.

    The fold begins `LEAD_IN` earlier to fill the windows. Every `RUN_PIECES` pieces the rows so far become a run of
    their own, which readers (`silver_training`) see from then on: a rebuild that is stopped keeps its finished runs,
    and rows of an unfinished one appear in no view.

    Args:
        progress: called with the span of event time of each finished piece.
        published: called with the time before which all rows are in finished runs.

    Returns:
        The number of rows written.

    Raises:
        RetryableError: QuestDB is down; start again.
    """
    # Later runs have the number of the first, counted up: what arrives meanwhile is not known to any of them.
    run, spec = time.time_ns() // 1000, spec_hash(config)
    state, total, written, pieces = EngineState.empty(config), 0, 0, 0
    since, begun = start - LEAD_IN, start
    for stop, piece in bronze.in_time_order(questdb, symbol, since, end, _piece(questdb, symbol, since, end)):
        if piece.height:
            state, rows = fold(state, piece)
            head = {"origin": pl.lit("rebuilt"), "spec": pl.lit(spec), "run": pl.lit(run, pl.Int64)}
            rows = rows.filter(pl.col("ts") >= start).with_columns(**head)
            questdb.write(SILVER, rows)
            written += rows.height
        pieces += stop > start
        if stop == end or pieces == RUN_PIECES:
            _publish(
                questdb, {"symbol": symbol, "run": run, "spec": spec, "start": begun, "end": stop, "rows": written}
            )
            if published is not None:
                published(stop)
            begun, run, total, written, pieces = stop, run + 1, total + written, 0, 0
        if progress is not None:
            progress(stop - since)
        since = stop
    return total


def span(questdb: QuestDB, symbol: str) -> tuple[datetime, datetime]:
    """The time from a symbol's first event in bronze to just past its last.

    Raises:
        FatalError: bronze has no events of the symbol.
    """
    ends: list[datetime] = []
    for table in bronze.TABLES:
        found = questdb.rows(f"SELECT min(ts), max(ts) FROM {table} WHERE symbol = %s", (symbol,))
        ends += [ts for row in found for ts in row if ts is not None]
    if not ends:
        raise FatalError(
            f"bronze holds no rows of {symbol}: compare its spelling with SELECT DISTINCT symbol FROM bronze_trades"
        )
    return min(ends), max(ends) + timedelta(microseconds=1)


def _piece(questdb: QuestDB, symbol: str, start: datetime, end: datetime) -> timedelta:
    """A length of event time that holds a bounded number of events on average."""
    mine = bronze.within(symbol, start, end)
    count = sum(int(questdb.rows(f"SELECT count() FROM {table} WHERE {mine}")[0][0]) for table in bronze.TABLES)
    return max(_MIN_PIECE, (end - start) / max(1, count // bronze.PIECE_ROWS))


def _publish(questdb: QuestDB, run: dict[str, object]) -> None:
    """Waits until the run's rows are visible, then records it in ``meta_runs``."""
    questdb.wait_applied([SILVER.name])
    times = dict.fromkeys(("ts", "start", "end"), pl.Datetime("us", "UTC"))
    frame = pl.DataFrame([{"ts": datetime.now(UTC), **run}], schema_overrides=times)
    questdb.write(META_RUNS, frame)
    questdb.wait_applied([META_RUNS.name])
    log.info("rebuilt %(symbol)s from %(start)s to %(end)s: %(rows)d rows, run %(run)d", run)


def rebuild_between(settings: Settings, symbol: str, start: datetime | None, end: datetime | None) -> dict[str, int]:
    """Rebuilds with a progress bar; ``start`` and ``end`` default to the limits of bronze.

    Raises:
        RetryableError: QuestDB is down. FatalError: the span is empty.
    """
    with closing(QuestDB(settings)) as questdb:
        first, last = span(questdb, symbol)
        start, end = start or first, end or last
        if start >= end:
            raise FatalError(f"empty span: {start} is not before {end}; correct --from or --to")
        config = engine_config(settings, questdb)
        with tqdm(total=round((end - start + LEAD_IN).total_seconds()), unit="s", desc=symbol) as bar:
            rows = rebuild(questdb, config, symbol, start, end, lambda done: bar.update(round(done.total_seconds())))
    return {"rows": rows}
