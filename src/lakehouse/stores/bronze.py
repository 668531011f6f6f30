"""Reads bronze as events, in log order or time order, in bounded chunks."""

from collections.abc import Iterator
from datetime import datetime, timedelta

import polars as pl

from lakehouse.messages import EVENT_SCHEMA
from lakehouse.stores.questdb import QuestDB
from lakehouse.times import format_time, utc

TABLES = {"bronze_trades": "trade", "bronze_quotes": "quote", "bronze_gaps": "gap"}
PIECE_ROWS = 300_000
# In time order, of events with equal times: quotes and what voids them as they lie in the log, then trades.
# A gap has the time of the last quote before it; the event that ends it has the time of the next quote.
_ORDER = {"gap": 0, "quote": 0, "trade": 1}


def text(value: str) -> str:
    """A string as an SQL literal."""
    return "'" + value.replace("'", "''") + "'"


def instant(value: datetime) -> str:
    """A time as an SQL literal, in UTC; one without a zone is UTC."""
    return f"'{format_time(utc(value))}'"


def within(symbol: str, start: datetime, end: datetime) -> str:
    """The SQL condition of one symbol's rows with ``start <= ts < end``."""
    return f"symbol = {text(symbol)} AND ts >= {instant(start)} AND ts < {instant(end)}"


def events(questdb: QuestDB, where: str, prefix: str = "") -> pl.DataFrame:
    """Trades, quotes and gaps that satisfy ``where`` (SQL over the columns they share), as `EVENT_SCHEMA`, unsorted.

    Args:
        prefix: of the tables' names, for a copy of bronze beside the live one.
    """
    return pl.concat([events_of(questdb, table, where, prefix) for table in TABLES])


def events_of(questdb: QuestDB, table: str, where: str, prefix: str = "", columns: str = "*") -> pl.DataFrame:
    """The rows of one table of `TABLES` that satisfy ``where``, as `EVENT_SCHEMA`, unsorted; other columns are null."""
    return as_events(questdb.frame(f"SELECT {columns} FROM {prefix}{table} WHERE {where}"), table)


def as_events(rows: pl.DataFrame, table: str) -> pl.DataFrame:
    """Rows of one table of `TABLES`, wherever they were read, as `EVENT_SCHEMA`."""
    typed = rows.with_columns(type=pl.lit(TABLES[table]))
    return typed.select(
        pl.col(name).cast(kind) if name in typed.columns else pl.lit(None, kind).alias(name)
        for name, kind in EVENT_SCHEMA.items()
    )


def in_log_order(questdb: QuestDB, symbol: str, epoch: int, before: int, span: timedelta) -> Iterator[pl.DataFrame]:
    """The live events of a symbol below the log position ``(epoch, before)``, in pieces, by (epoch, seq).

    Args:
        span: only events whose ``ts`` lies less than this before the newest such event's.
    """
    mine = f"symbol = {text(symbol)} AND origin = 'live' AND (epoch < {epoch} OR (epoch = {epoch} AND seq < {before}))"
    newest = [ts for table in TABLES for (ts,) in questdb.rows(f"SELECT max(ts) FROM {table} WHERE {mine}") if ts]
    if not newest:
        return
    mine += f" AND ts > {instant(max(newest) - span)}"
    yield from _by_log(questdb, mine)


def live_between(
    questdb: QuestDB, symbol: str, start: datetime, end: datetime, prefix: str = ""
) -> Iterator[pl.DataFrame]:
    """The live events of a symbol with ``start <= ts < end``, in pieces, by (epoch, seq): as the engine met them."""
    yield from _by_log(questdb, f"{within(symbol, start, end)} AND origin = 'live'", prefix)


def live_behind(questdb: QuestDB, symbol: str, start: datetime, end: datetime) -> Iterator[pl.DataFrame]:
    """The events behind a symbol's rows with ``start <= ts < end``, in pieces, by (epoch, seq).

    Those are the live events from ``start`` on that had come by the time the last one before ``end`` came. Among them
    may be events after ``end``: behind those, what was refilled late has caused no row of its own.
    """
    mine = f"symbol = {text(symbol)} AND origin = 'live' AND ts >= {instant(start)}"
    before = f"{mine} AND ts < {instant(end)}"
    last = [questdb.rows(f"SELECT epoch, max(seq) FROM {table} WHERE {before} GROUP BY epoch") for table in TABLES]
    if any(last):
        epoch, seq = max(position for rows in last for position in rows)
        yield from _by_log(questdb, f"{mine} AND (epoch < {epoch} OR (epoch = {epoch} AND seq <= {seq}))")


def sparse_symbols(questdb: QuestDB) -> frozenset[str]:
    """The symbols whose trade ids are known not to be dense, so that missing trades cannot be detected."""
    newest = "SELECT * FROM meta_symbols LATEST ON ts PARTITION BY symbol"
    return frozenset(symbol for (symbol,) in questdb.rows(f"SELECT symbol FROM ({newest}) WHERE NOT dense"))


def _by_log(questdb: QuestDB, where: str, prefix: str = "") -> Iterator[pl.DataFrame]:
    """Events that satisfy ``where``, by (epoch, seq), in pieces of about `PIECE_ROWS`."""
    spans: dict[int, tuple[int, int, int]] = {}
    for table in TABLES:
        grouped = f"SELECT epoch, min(seq), max(seq), count() FROM {prefix}{table} WHERE {where} GROUP BY epoch"
        for number, low, high, rows in questdb.rows(grouped):
            held = spans.get(number, (low, high, 0))
            spans[number] = (min(low, held[0]), max(high, held[1]), rows + held[2])
    for number, (low, high, rows) in sorted(spans.items()):
        step = max(1, (high - low + 1) * PIECE_ROWS // max(rows, PIECE_ROWS))
        for start in range(low, high + 1, step):
            piece = events(questdb, f"{where} AND epoch = {number} AND seq >= {start} AND seq < {start + step}", prefix)
            yield piece.sort("seq")


def in_time_order(
    questdb: QuestDB, symbol: str, start: datetime, end: datetime, piece: timedelta
) -> Iterator[tuple[datetime, pl.DataFrame]]:
    """All events of a symbol with ``start <= ts < end``, by time, in pieces of event time: (end of the piece, events).

    Of equal times quotes and gaps come first, by (epoch, seq), then trades by id.
    """
    order = pl.col("type").replace_strict(_ORDER, return_dtype=pl.Int8)
    while start < end:
        stop = min(start + piece, end)
        found = events(questdb, within(symbol, start, stop))
        yield stop, found.sort("ts", order, "trade_id", "epoch", "seq")
        start = stop
