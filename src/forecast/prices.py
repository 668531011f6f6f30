"""The prices of a symbol out of bronze, as the truth is computed from them."""

from datetime import datetime

import polars as pl

from forecast.dataset import price_path
from forecast.targets import PricePath
from lakehouse.stores.questdb import QuestDB

# What `price_path` looks at, per kind of event.
_PARTS: dict[str, tuple[str, dict[str, type[pl.DataType]]]] = {
    "trade": ("bronze_trades", {"price": pl.Float64, "side": pl.String}),
    "quote": ("bronze_quotes", {"bid": pl.Float64, "ask": pl.Float64}),
    "gap": ("bronze_gaps", {"stream": pl.String}),
}


def read_path(database: QuestDB, symbol: str, start: datetime, end: datetime) -> PricePath:
    """The symbol's prices by events with ``start <= ts <= end`` (UTC), in time order, ties in log order.

    Raises:
        RetryableError: QuestDB is away.
    """
    where = f"symbol = {quoted(symbol)} AND ts BETWEEN {literal(start)} AND {literal(end)}"
    parts = []
    for kind, (table, columns) in _PARTS.items():
        part = database.frame(f"SELECT ts, epoch, seq, {', '.join(columns)} FROM {table} WHERE {where}")
        typed = [pl.col(name).cast(dtype) for name, dtype in columns.items()]
        parts.append(part.select(pl.lit(kind).alias("type"), "ts", "epoch", "seq", *typed))
    return price_path(pl.concat(parts, how="diagonal").sort("ts", "epoch", "seq"))


def quoted(text: str) -> str:
    """A SQL string literal."""
    return "'" + text.replace("'", "''") + "'"


def literal(when: datetime) -> str:
    """A SQL timestamp literal, in microseconds, UTC."""
    return f"'{when:%Y-%m-%dT%H:%M:%S.%fZ}'"
