"""Reads training rows and the prices that label them from QuestDB."""

from datetime import UTC, datetime, timedelta

import polars as pl

from features.spec import NAMES
from forecast.data import dataset
from forecast.data.dataset import Dataset
from forecast.model.targets import PricePath
from lakehouse.messages import EVENT_SCHEMA
from lakehouse.stores import bronze
from lakehouse.stores.questdb import QuestDB

EVERY_S = 10
# With quotes the truth is fresh; history of trades alone has pauses.
STALE_S = 60.0


def read(questdb: QuestDB, symbol: str, start: datetime, end: datetime, spec: str, step_s: int) -> Dataset:
    """One symbol's complete rows of ``spec`` with ``start <= ts < end``, one per 10 s, with labels.

    Raises:
        RetryableError: QuestDB is away.
    """
    span = bronze.within(symbol, start, end)
    columns = ", ".join(f'"{name}"' for name in ("ts", "symbol", "complete", *NAMES))
    # Whole rows of days would not fit into memory: take those of one second in ten.
    thinned = f"{span} AND spec = {bronze.text(spec)} AND extract(second from ts) % {EVERY_S} = 0"
    rows = questdb.frame(f"SELECT {columns} FROM silver_training WHERE {thinned}")
    if rows.is_empty():
        return dataset.empty(spec, step_s)
    path = price_path(questdb, symbol, start - timedelta(minutes=10), end)
    return dataset.build(dataset.with_bid(rows, dataset.before_rows(rows, path)), path, spec, step_s, EVERY_S, STALE_S)


def price_path(questdb: QuestDB, symbol: str, start: datetime, end: datetime) -> PricePath:
    """The symbol's last price of each second, which is all that a volatility grid of whole seconds reads."""
    span = bronze.within(symbol, start, end)
    quotes = f"SELECT last(ts) at, last(bid) bid, last(ask) ask FROM bronze_quotes WHERE {span} SAMPLE BY 1s"
    trades = f"SELECT last(ts) at, last(price) price FROM bronze_trades WHERE {span} SAMPLE BY 1s"
    sales = f"SELECT last(ts) at, last(price) price FROM bronze_trades WHERE {span} AND side = 'sell' SAMPLE BY 1s"
    gaps = f"SELECT ts at, stream FROM bronze_gaps WHERE {span}"
    parts = [
        questdb.frame(gaps).with_columns(type=pl.lit("gap")),
        questdb.frame(quotes).with_columns(type=pl.lit("quote")),
        questdb.frame(trades).with_columns(type=pl.lit("trade")),
        questdb.frame(sales).with_columns(type=pl.lit("trade"), side=pl.lit("sell")),
    ]
    typed = [_as_events(part.rename({"at": "ts"})) for part in parts]
    return dataset.price_path(pl.concat(typed))


def _as_events(frame: pl.DataFrame) -> pl.DataFrame:
    known = [pl.col(c).cast(t) if c in frame.columns else pl.lit(None, t).alias(c) for c, t in EVENT_SCHEMA.items()]
    return frame.select(known)


def newest_events(questdb: QuestDB, symbol: str, span: timedelta = timedelta(minutes=30)) -> pl.DataFrame:
    """The live events of the newest ``span``, in log order; for the leak gate, which folds them twice."""
    now = datetime.now(UTC)
    found = list(bronze.live_between(questdb, symbol, now - span, now))
    return pl.concat(found) if found else pl.DataFrame(schema=EVENT_SCHEMA)
