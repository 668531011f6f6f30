"""Rebuilds silver rows from bronze in time order: for backfills, filled holes and new feature definitions."""

import argparse
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
from lakehouse import command
from lakehouse.errors import FatalError
from lakehouse.schema import META_RUNS
from lakehouse.settings import Settings
from lakehouse.stores import bronze
from lakehouse.stores.questdb import QuestDB
from lakehouse.times import parse_utc

log = logging.getLogger(__name__)
_MIN_PIECE = timedelta(minutes=1)
# Spans closer than this are rebuilt as one: each run has to fold a lead-in of more than a day.
NEAR = timedelta(hours=1)
TimeSpan = tuple[datetime, datetime]
ProgressCallback = Callable[[timedelta], object]


def merged(spans: Iterable[TimeSpan]) -> list[TimeSpan]:
    """Sorts spans and merges those that overlap or lie within `NEAR` of each other.

    >>> at = datetime(2026, 9, 25, tzinfo=UTC)
    >>> len(merged([(at, at), (at + NEAR, at + 2 * NEAR), (at + 4 * NEAR, at + 5 * NEAR)]))
    2
    """
    found: list[TimeSpan] = []
    for start, end in sorted(spans):
        if found and start <= found[-1][1] + NEAR:
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
) -> int:
    """Folds bronze into silver rows of ``start <= ts < end`` with ``origin=rebuilt`` and a new run number.

    The fold begins `LEAD_IN` earlier to fill the windows. Readers (`silver_training`) see the run only once it is
    complete: rows of an interrupted run appear in no view.

    Args:
        progress: called with the span of event time of each finished piece.

    Returns:
        The number of rows written.

    Raises:
        RetryableError: QuestDB is down; start again.
    """
    run, spec = time.time_ns() // 1000, spec_hash(config)
    state, written = EngineState.empty(config), 0
    since = start - LEAD_IN
    head = {"origin": pl.lit("rebuilt"), "spec": pl.lit(spec), "run": pl.lit(run, pl.Int64)}
    for stop, piece in bronze.in_time_order(questdb, symbol, since, end, _piece(questdb, symbol, since, end)):
        if piece.height:
            state, rows = fold(state, piece)
            rows = rows.filter(pl.col("ts") >= start).with_columns(**head)
            questdb.write(SILVER, rows)
            written += rows.height
        if progress is not None:
            progress(stop - since)
            since = stop
    questdb.wait_applied([SILVER.name])
    _finish(questdb, {"symbol": symbol, "run": run, "spec": spec, "start": start, "end": end, "rows": written})
    log.info("rebuilt %s from %s to %s: %d rows, run %d", symbol, start, end, written, run)
    return written


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
            f"bronze holds nothing of {symbol}: is it spelt as in SELECT DISTINCT symbol FROM bronze_trades?"
        )
    return min(ends), max(ends) + timedelta(microseconds=1)


def _piece(questdb: QuestDB, symbol: str, start: datetime, end: datetime) -> timedelta:
    """A length of event time that holds a bounded number of events on average."""
    mine = bronze.within(symbol, start, end)
    count = sum(int(questdb.rows(f"SELECT count() FROM {table} WHERE {mine}")[0][0]) for table in bronze.TABLES)
    return max(_MIN_PIECE, (end - start) / max(1, count // bronze.PIECE_ROWS))


def _finish(questdb: QuestDB, run: dict[str, object]) -> None:
    times = dict.fromkeys(("ts", "start", "end"), pl.Datetime("us", "UTC"))
    frame = pl.DataFrame([{"ts": datetime.now(UTC), **run}], schema_overrides=times)
    questdb.write(META_RUNS, frame)
    questdb.wait_applied([META_RUNS.name])


def rebuild_between(settings: Settings, symbol: str, start: datetime | None, end: datetime | None) -> dict[str, int]:
    """Rebuilds with a progress bar; ``start`` and ``end`` default to the limits of bronze.

    Raises:
        RetryableError: QuestDB is down. FatalError: the span is empty.
    """
    with closing(QuestDB(settings)) as questdb:
        first, last = span(questdb, symbol)
        start, end = start or first, end or last
        if start >= end:
            raise FatalError(f"the span must end after it begins: {start} is not before {end}; see --from and --to")
        config = engine_config(settings, questdb)
        with tqdm(total=round((end - start + LEAD_IN).total_seconds()), unit="s", desc=symbol) as bar:
            rows = rebuild(questdb, config, symbol, start, end, lambda done: bar.update(round(done.total_seconds())))
    return {"rows": rows}


def main() -> None:
    """``python -m ingestion.silver.rebuild --symbol S [--from A] [--to B]``; without a span, all that bronze holds."""
    parser = argparse.ArgumentParser(prog="ingestion.silver.rebuild", description=__doc__)
    parser.add_argument("--symbol", required=True, help="e.g. BTC/USD")
    parser.add_argument("--from", dest="start", type=parse_utc, help="UTC, e.g. 2026-10-01 or 2026-10-01T12:00:00Z")
    parser.add_argument("--to", dest="end", type=parse_utc, help="UTC, exclusive")
    asked = parser.parse_args()
    command.run("rebuild", lambda settings: rebuild_between(settings, asked.symbol, asked.start, asked.end))


if __name__ == "__main__":
    main()
