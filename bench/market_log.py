"""Fills market.events with simulated market time, as fast as Kafka takes it."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import orjson
import polars as pl

from ingestion.simulator.market import Market
from ingestion.simulator.minute import TRADE_SHARE
from lakehouse.messages import SCHEMA_HEADER
from lakehouse.settings import EVENTS_TOPIC, Settings
from lakehouse.stores import kafka

GENESIS = datetime(2026, 1, 1, tzinfo=UTC)
_SLICE = timedelta(minutes=5)


def messages(symbols: tuple[str, ...], per_second: float, count: int, quotes: bool) -> Iterator[tuple[bytes, bytes]]:
    """(key, value) of the first ``count`` events of a market with ``per_second`` events per second of market time.

    Args:
        quotes: trades and quotes; otherwise trades alone, which is what the bare path reads.
    """
    density = per_second / len(symbols) / (1 if quotes else TRADE_SHARE)
    market = Market(seed=7, events_per_s=density, genesis=GENESIS)
    start, made = GENESIS + timedelta(days=1), 0
    while made < count:
        frames = [_events(market, symbol, start, start + _SLICE, quotes) for symbol in symbols]
        for row in pl.concat(frames, how="diagonal").sort("at").drop("at").iter_rows(named=True):
            if made < count:
                yield row["symbol"].encode(), orjson.dumps({k: v for k, v in row.items() if v is not None})
                made += 1
        start += _SLICE


def fill(settings: Settings, symbols: tuple[str, ...], per_second: float, count: int, quotes: bool = False) -> None:
    """Sends that many events to market.events and waits until Kafka has them."""
    producer = kafka.producer(settings, linger_ms=50.0)
    for key, value in messages(symbols, per_second, count, quotes):
        while True:
            try:
                producer.produce(EVENTS_TOPIC, value, key=key, headers=[SCHEMA_HEADER])
                break
            except BufferError:
                producer.poll(0.05)
    producer.flush()


def _events(market: Market, symbol: str, start: datetime, stop: datetime, quotes: bool) -> pl.DataFrame:
    pair = market.pairs[symbol]
    found = {"trade": market.trades(symbol, start, stop).columns(pair)}
    if quotes:
        found["quote"] = market.quotes(symbol, start, stop).columns(pair)
    frames = []
    for kind, columns in found.items():
        columns.pop("trades", None)
        times = pl.Series(columns.pop("ts"))
        heads = {name: pl.lit(text) for name, text in (("type", kind), ("symbol", symbol), ("source", "sim"))}
        stamps = {"ts": _text(times), "received_at": _text(times.dt.offset_by("20ms"))}
        frames.append(pl.DataFrame({**columns, **stamps, "at": times}).with_columns(**heads))
    return pl.concat(frames, how="diagonal")


def _text(times: pl.Series) -> pl.Series:
    return times.dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ")
