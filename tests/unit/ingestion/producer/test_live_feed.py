"""The live feed: good items of a bad frame are salvaged, unreadable quotes are gaps, maintenance is survived."""

import threading
from types import SimpleNamespace

import orjson
import pytest

from ingestion.kraken.ws_client import WebSocketClient
from ingestion.kraken.ws_messages import QuoteFrame, Rejection, Status, TradeFrame
from tests.support.producing import BTC, ETH, feed_of, gaps, quote, trade


def item(trade_id: int, **changes: object) -> dict[str, object]:
    whole = {"symbol": BTC, "side": "sell", "price": 1.5, "qty": 2.0, "ord_type": "limit", "trade_id": trade_id}
    return whole | {"timestamp": "2026-09-25T00:00:01.000000Z"} | changes


def test_good_items_are_taken_out_of_a_bad_frame() -> None:
    feed, publisher = feed_of()
    bad = item(2, price="much")
    feed.take(orjson.dumps({"channel": "trade", "type": "update", "data": [item(1), bad, item(3)]}))
    assert [e["trade_id"] for e in publisher.events] == [1, 3]
    ((payload, reason, origin),) = publisher.dead
    assert (orjson.loads(payload)["data"], reason, origin) == ([bad], "bad trade", "ws")


def test_a_frame_that_is_no_frame_is_set_aside_whole() -> None:
    feed, publisher = feed_of()
    for text in ('{"channel":"trade","da', "[1,2]", '{"channel":"trade","type":"update","data":{"price":1}}', "\udcff"):
        feed.take(text.encode(errors="surrogateescape"))
    assert [reason for _, reason, _ in publisher.dead] == ["unparsable"] * 4
    assert publisher.events == []


def test_a_quote_that_cannot_be_read_is_out_of_sight() -> None:
    def losses(text: bytes) -> list[tuple[str, str]]:
        feed, publisher = feed_of()
        feed.handle(QuoteFrame((quote(100), quote(100, symbol=ETH)), snapshot=True))
        feed.take(text)
        feed.handle(QuoteFrame((quote(200, bid=105.0),), snapshot=False))
        return [(symbol, reason) for symbol, _, reason in gaps(publisher)]

    both = [(BTC, "unparsable"), (ETH, "unparsable"), (BTC, "unparsable: over")]
    assert sorted(losses(b'{"channel":"tic')) == sorted(both)
    broken = {"channel": "ticker", "type": "update", "data": [{"symbol": ETH, "bid": None}]}
    assert losses(orjson.dumps(broken)) == [(ETH, "unparsable")]
    assert sorted(losses(orjson.dumps(broken | {"data": [{"symbol": [ETH]}]}))) == sorted(both)
    for harmless in ({"channel": "trade", "type": "update", "data": [item(2, price="much")]}, {"hello": "world"}, [1]):
        assert losses(orjson.dumps(harmless)) == []


def test_symbols_that_were_not_asked_for_are_left_alone() -> None:
    feed, publisher = feed_of()
    feed.handle(TradeFrame((trade(1, symbol="DOGE/USD"),), snapshot=False))
    assert publisher.events == []


def test_maintenance_and_refusal_void_the_quotes() -> None:
    feed, publisher = feed_of()
    feed.handle(QuoteFrame((quote(100),), snapshot=True))
    feed.handle(Rejection("subscribe", "whatever", BTC, 99))
    assert gaps(publisher) == []
    feed.handle(Status("maintenance", None))
    assert gaps(publisher) == [(BTC, "00.100", "maintenance")]


class Quiet(WebSocketClient):
    """An exchange in maintenance: a status, then nothing but answers to pings; each look takes its time."""

    def __init__(self, stop: threading.Event, until: float) -> None:
        self.now, self.frames = 0.0, [b'{"channel":"status","type":"update","data":[{"system":"maintenance"}]}']
        self._stop, self._until = stop, until

    def receive(self, timeout_s: float) -> bytes | None:
        self.now += timeout_s
        if self.now >= self._until:
            self._stop.set()
        return self.frames.pop(0) if self.frames else None

    def send(self, text: str) -> None:
        assert orjson.loads(text)["method"] == "ping"
        self.frames.append(b'{"method":"pong","req_id":1}')


def test_a_connection_made_in_maintenance_is_kept_alive_by_pings(monkeypatch: pytest.MonkeyPatch) -> None:
    stop = threading.Event()
    connection = Quiet(stop, until=120.0)
    monkeypatch.setattr("ingestion.producer.live_feed.time", SimpleNamespace(monotonic=lambda: connection.now))
    feed, _ = feed_of()
    feed._follow(connection, stop)
    assert connection.now >= 120.0
