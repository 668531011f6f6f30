"""Reads training rows and the prices that label them from QuestDB."""

from datetime import UTC, datetime, timedelta

import polars as pl

from features.spec import NAMES
from forecast.data import dataset, prices
from forecast.data.dataset import Dataset
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
    path = prices.read_path(questdb, symbol, dataset.times(rows), end)
    return dataset.build(dataset.with_bid(rows, dataset.before_rows(rows, path)), path, spec, step_s, EVERY_S, STALE_S)


def newest_events(questdb: QuestDB, symbol: str, span: timedelta = timedelta(minutes=30)) -> pl.DataFrame:
    """The live events of the newest ``span``, in log order; for the leak gate, which folds them twice."""
    now = datetime.now(UTC)
    found = list(bronze.live_between(questdb, symbol, now - span, now))
    return pl.concat(found) if found else pl.DataFrame(schema=EVENT_SCHEMA)
