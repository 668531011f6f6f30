"""Builders for tests of the producer: trades and quotes of two symbols, and a deduplicator that sends to a recorder."""

from datetime import UTC, datetime, timedelta

from ingestion.completeness.id_gaps import IdFilter, filter_of
from ingestion.producer.deduplicator import Deduplicator
from ingestion.producer.live_feed import LiveFeed
from lakehouse.records import Quote, Source, Trade
from tests.support.recorder import Recorder

START = datetime(2026, 9, 25, tzinfo=UTC)

BTC, ETH = "BTC/USD", "ETH/USD"


def trade(trade_id: int, ms: int = 0, source: Source = "ws", symbol: str = BTC) -> Trade:
    at = START + timedelta(milliseconds=ms or trade_id)
    return Trade(symbol, trade_id, 100.0, 1.0, "buy", "market", at, START + timedelta(minutes=1), source)


def quote(ms: int, bid: float = 100.0, symbol: str = BTC) -> Quote:
    at = START + timedelta(milliseconds=ms)
    return Quote(symbol, bid, 1.0, bid + 1, 2.0, at, at + timedelta(milliseconds=5), "ws")


def sink_of(*seen: int) -> tuple[Deduplicator, Recorder]:
    publisher = Recorder()
    filters = {BTC: filter_of(((i, trade(i).ts) for i in seen), 0.0), ETH: IdFilter()}
    return Deduplicator(publisher, filters, timedelta(seconds=5)), publisher


def gaps(publisher: Recorder) -> list[tuple[str, str, str]]:
    return [(e["symbol"], e["ts"][17:23], e["reason"]) for e in publisher.events if e["type"] == "gap"]


def feed_of() -> tuple[LiveFeed, Recorder]:
    sink, publisher = sink_of()
    return LiveFeed("ws://nowhere", (BTC, ETH), "ws", sink, publisher), publisher
