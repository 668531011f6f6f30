"""A symbol's prices, for all that compares a row or a forecast with what happened: training, scoring, drift, Dask."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from features.spec import STALE_S
from forecast.data.dataset import price_path
from forecast.model.targets import MICROS, PricePath, Times
from lakehouse.messages import EVENT_SCHEMA
from lakehouse.settings import HORIZONS_S
from lakehouse.stores import bronze
from lakehouse.stores.questdb import QuestDB

# Prices are read from this long before the first row on, so that the variance after it has a return to begin with.
LOOK_BACK = timedelta(minutes=5)
# Memory is bounded by what an hour of events takes.
_PIECE = timedelta(hours=1)
_COLUMNS = {
    "bronze_trades": "ts, epoch, seq, price, side",
    "bronze_quotes": "ts, epoch, seq, bid, ask",
    "bronze_gaps": "ts, epoch, seq, stream",
}
# The newest of each decides the prices until the next; a quote, and what voids it, no longer than a quote is held.
_HELD = timedelta(seconds=STALE_S)
_DECIDING = (
    ("bronze_quotes", "true", _HELD, pl.col("type") == "quote"),
    ("bronze_gaps", "stream = 'ticker'", _HELD, pl.col("stream") == "ticker"),
    ("bronze_trades", "true", None, pl.col("type") == "trade"),
    ("bronze_trades", "side = 'sell'", None, pl.col("side") == "sell"),
)


def read_path(questdb: QuestDB, symbol: str, rows: Times, end: datetime) -> PricePath:
    """The symbol's prices from before the first row until ``end``, as `assemble` makes them for these rows.

    Args:
        rows: times of feature rows or forecasts, microseconds since 1970, in any order, at least one.

    Raises:
        RetryableError: QuestDB is away.
    """
    start = first_read(rows)
    return assemble(_pieces(questdb, symbol, start, end), start, rows)


def first_read(rows: Times) -> datetime:
    """From when on the prices for these rows are read, UTC."""
    return datetime.fromtimestamp(int(rows.min()) / MICROS, UTC) - LOOK_BACK


def assemble(pieces: Iterable[pl.DataFrame], start: datetime, rows: Times) -> PricePath:
    """The prices from ``start`` on, without those that no label and no score of these rows reads.

    However the events are cut into pieces, and however many lie before ``start`` as long as the newest quote, ticker
    gap, trade and sale there are among them: what `targets.truth` makes of the prices is the same.

    Args:
        pieces: events (`EVENT_SCHEMA`), all of a piece later than the piece before, in any order within.
        rows: microseconds since 1970, in any order.
    """
    wanted = np.unique(np.concatenate([rows - 1, *(rows + h * MICROS for h in HORIZONS_S)]))
    found = price_path(pl.DataFrame(schema=EVENT_SCHEMA))
    held = pl.DataFrame(schema=EVENT_SCHEMA)
    for piece in pieces:
        events = pl.concat([held, piece]).sort("ts", "epoch", "seq")
        found = _continued(found, _thinned(price_path(events), wanted))
        held = _deciding(events)
    return _clipped(found, int(start.timestamp() * MICROS))


def _pieces(questdb: QuestDB, symbol: str, start: datetime, end: datetime) -> Iterator[pl.DataFrame]:
    yield _in_force(questdb, symbol, start)
    while start < end:
        stop = min(start + _PIECE, end)
        where = bronze.within(symbol, start, stop)
        yield pl.concat([bronze.events_of(questdb, table, where, columns=names) for table, names in _COLUMNS.items()])
        start = stop


def _in_force(questdb: QuestDB, symbol: str, start: datetime) -> pl.DataFrame:
    """The events that decide the prices at ``start``, and those of the same times: only their order tells which do."""
    parts = [pl.DataFrame(schema=EVENT_SCHEMA)]
    for table, kind, held, _ in _DECIDING:
        before = f"symbol = {bronze.text(symbol)} AND ts < {bronze.instant(start)} AND {kind}"
        if held is not None:
            before += f" AND ts >= {bronze.instant(start - held)}"
        for (newest,) in questdb.rows(f"SELECT ts FROM {table} WHERE {before} ORDER BY ts DESC LIMIT 1"):
            where = f"{before} AND ts = {bronze.instant(newest)}"
            parts.append(bronze.events_of(questdb, table, where, columns=_COLUMNS[table]))
    return pl.concat(parts).unique()


def _deciding(events: pl.DataFrame) -> pl.DataFrame:
    """Of sorted events the newest of each kind that decides prices."""
    numbered = events.with_row_index()
    newest = [numbered.filter(kind).tail(1) for *_, kind in _DECIDING]
    return pl.concat(newest).unique("index").sort("index").drop("index")


def _thinned(path: PricePath, wanted: Times) -> PricePath:
    """The newest price and those in force at the wanted times and at whole seconds, on which volatility is sampled."""
    if not len(path.ts):
        return path
    seconds = np.arange(path.ts[0] // MICROS, path.ts[-1] // MICROS + 1) * MICROS
    here = wanted[np.searchsorted(wanted, path.ts[0]) : np.searchsorted(wanted, path.ts[-1], side="right")]
    when = np.unique(np.concatenate([seconds, here]))
    index = np.unique(np.append(np.searchsorted(path.ts, when, side="right") - 1, len(path.ts) - 1))
    return path.part(index[index >= 0])


def _continued(path: PricePath, piece: PricePath) -> PricePath:
    """A path and what follows it; the piece begins with what was in force before it, which the path knows."""
    newer = piece.part(slice(np.searchsorted(piece.ts, path.ts[-1], side="right") if len(path.ts) else 0, None))
    return PricePath(*(np.concatenate([getattr(path, f), getattr(newer, f)]) for f in PricePath.__dataclass_fields__))


def _clipped(path: PricePath, start: int) -> PricePath:
    """The path from ``start`` on; what was in force there begins there."""
    path = path.part(slice(max(0, int(np.searchsorted(path.ts, start, side="right")) - 1), None))
    return replace(path, ts=np.maximum(path.ts, start))
