"""The consumer's Prometheus metrics."""

import time
from collections import Counter as Counts
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import polars as pl
from prometheus_client import Counter, Gauge, Histogram

from lakehouse.freshness import FRESHNESS

TRADES = Counter("trades_ingested", "Trades written to bronze.", ["symbol", "source"])
QUOTES = Counter("quotes_ingested", "Quotes written to bronze.", ["symbol", "source"])
ROWS = Counter("feature_rows_written", "Live feature rows written to silver.", ["symbol"])
RENEWED = Counter("feature_rows_renewed", "Feature rows rebuilt because trades arrived late.", ["symbol"])
DUPLICATES = Counter("duplicates_dropped", "Trades dropped because bronze held their id.", ["symbol"])
DEAD = Counter("dead_letters", "Messages and rows set aside.", ["reason"])
RETRIES = Counter("retries", "Steps retried because a server was down.", ["server"])
PAUSED = Gauge("consumer_paused", "1 while fetching pauses until the current batch is done.")
STEP = Histogram(
    "consumer_step_seconds",
    "Time of each step of a batch.",
    ["step"],
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 30),
)
BATCH = Histogram("consumer_batch_events", "Messages per batch.", buckets=(1, 10, 100, 1000, 5000, 20_000, 50_000))

# Up to this size, counting in Python is faster than calling polars.
_FEW = 200
_newest: dict[str, float] = {}


@contextmanager
def timed(step: str) -> Iterator[None]:
    """Records the block's duration in the step's histogram."""
    began = time.perf_counter()
    try:
        yield
    finally:
        STEP.labels(step).observe(time.perf_counter() - began)


def count_events(events: pl.DataFrame) -> None:
    """Counts events written to bronze."""
    if events.height > _FEW:
        counts = {(k, s, o): n for k, s, o, n in events.group_by("type", "symbol", "source").len().iter_rows()}
    else:
        counts = Counts(zip(events["type"], events["symbol"], events["source"], strict=True))
    for (kind, symbol, source), count in counts.items():
        if kind != "gap":
            (TRADES if kind == "trade" else QUOTES).labels(symbol, source).inc(count)


def count_rows(rows: pl.DataFrame) -> None:
    """Counts live rows and sets each symbol's freshness."""
    for symbol, count, newest in rows.group_by("symbol").agg(pl.len(), pl.col("ts").max().alias("ts")).iter_rows():
        ROWS.labels(symbol).inc(count)
        if symbol not in _newest:
            FRESHNESS.labels(symbol).set_function(partial(_age, symbol))
        _newest[symbol] = max(newest.timestamp(), _newest.get(symbol, 0.0))


def _age(symbol: str) -> float:
    return time.time() - _newest[symbol]
