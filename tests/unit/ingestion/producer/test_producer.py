"""The sink's decisions, the feed's salvage and the tail's memory: each trade once, each blind moment marked."""

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from unittest.mock import Mock

import orjson
import pytest

from ingestion.completeness.id_gaps import Hole, IdFilter, filter_of
from ingestion.kraken.ws_client import WebSocketClient
from ingestion.kraken.ws_messages import QuoteFrame, Rejection, Status, TradeFrame
from ingestion.producer.deduplicator import Deduplicator
from ingestion.producer.live_feed import LiveFeed
from ingestion.producer.resume import LogTail, read_tail
from lakehouse.messages import REPLAY_HEADER, SCHEMA_HEADER, encode
from lakehouse.records import Event, Quote, Source, Trade
from lakehouse.settings import EVENTS_TOPIC
from lakehouse.stores.kafka_reading import OffsetRange
from tests.unit.ingestion.recorder import Recorder

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


def test_a_trade_goes_out_once_under_its_symbol() -> None:
    sink, publisher = sink_of()
    assert [sink.trade(trade(i)) for i in (5, 6, 6, 5, 8)] == [True, True, False, False, True]
    assert [(topic, key, event["trade_id"]) for topic, key, event in publisher.sent] == [
        (EVENTS_TOPIC, BTC, i) for i in (5, 6, 8)
    ]
    assert [(hole.first, hole.last) for hole in sink.holes(BTC, float("inf"))] == [(7, 7)]


def test_a_refilled_trade_never_comes_after_the_next_one_known() -> None:
    sink, publisher = sink_of(5, 8)
    late = replace(trade(7, source="rest"), ts=trade(8).ts + timedelta(microseconds=1))
    assert sink.refill(late) and sink.refill(trade(6, source="rest"))
    assert not sink.refill(trade(6, source="rest")) and not sink.refill(trade(8, source="rest"))
    assert [(e["trade_id"], e["ts"][-7:-1]) for e in publisher.events] == [(7, "008000"), (6, "006000")]
    assert sink.holes(BTC, float("inf")) == ()


def test_a_refilled_trade_older_than_this_process_needs_the_ledgers_word() -> None:
    sink, publisher = sink_of(50, 51)
    hole = Hole(10, 12, trade(9).ts, trade(13).ts, 0.0)
    assert not sink.refill(trade(11, source="rest"))
    assert sink.refill(trade(11, source="rest"), hole)
    assert not sink.refill(trade(13, source="rest"), hole)
    assert [e["trade_id"] for e in publisher.events] == [11]


def test_what_is_stamped_too_far_ahead_is_set_aside_and_stays_missing() -> None:
    sink, publisher = sink_of(5)
    ahead = replace(trade(6), ts=START + timedelta(minutes=1, seconds=5, microseconds=1))
    assert not sink.trade(ahead)
    assert publisher.dead == [(encode(ahead), "future", "ws")]
    sink.trade(trade(7))
    assert [(hole.first, hole.last) for hole in sink.holes(BTC, float("inf"))] == [(6, 6)]
    assert sink.trade(replace(ahead, ts=START + timedelta(minutes=1, seconds=5)))


def test_a_loss_is_marked_at_both_ends_and_once() -> None:
    sink, publisher = sink_of()
    sink.quote(quote(100))
    sink.quote(quote(100, symbol=ETH))
    sink.lose_quotes([BTC, ETH], "closed_1012")
    sink.lose_quotes([BTC], "unreachable")
    sink.quote(quote(900, bid=101.0))
    assert gaps(publisher) == [
        (BTC, "00.100", "closed_1012"),
        (ETH, "00.100", "closed_1012"),
        (BTC, "00.900", "closed_1012: over"),
    ]
    assert [e["type"] for e in publisher.events][-2:] == ["gap", "quote"]


def test_a_quote_that_repeats_the_last_is_left_out_but_not_after_a_gap() -> None:
    sink, publisher = sink_of()
    same = quote(100)
    for one in (same, replace(same, received_at=same.received_at + timedelta(seconds=1))):
        sink.quote(one)
    assert len(publisher.sent) == 1
    sink.lose_quotes([BTC], "frozen")
    sink.quote(same)
    assert [e["type"] for e in publisher.events] == ["quote", "gap", "gap", "quote"]


def test_a_doubted_stream_was_blind_only_if_it_comes_back_different() -> None:
    sink, publisher = sink_of()
    sink.quote(quote(100))
    sink.doubt_quotes(BTC)
    sink.quote(quote(200))
    assert gaps(publisher) == []
    sink.doubt_quotes(BTC)
    sink.quote(quote(300, bid=105.0))
    assert gaps(publisher) == [(BTC, "00.200", "silent"), (BTC, "00.300", "silent: over")]


def test_time_between_two_processes_is_a_gap_and_the_first_start_is_none() -> None:
    sink, publisher = sink_of()
    sink.quote(quote(50))
    assert gaps(publisher) == []
    sink, publisher = sink_of()
    sink.resume_after({BTC: quote(100).ts, ETH: None})
    sink.quote(quote(700))
    sink.quote(quote(800, symbol=ETH))
    assert gaps(publisher) == [(BTC, "00.100", "start"), (BTC, "00.700", "start: over"), (ETH, "00.800", "start: over")]


def test_what_the_exchange_lacks_is_missed_no_longer() -> None:
    sink, _ = sink_of(5, 9)
    sink.give_up(BTC, 6, 7)
    assert [(hole.first, hole.last) for hole in sink.holes(BTC, float("inf"))] == [(8, 8)]


def feed_of() -> tuple[LiveFeed, Recorder]:
    sink, publisher = sink_of()
    return LiveFeed("ws://nowhere", (BTC, ETH), "ws", sink, publisher), publisher


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


def test_a_quote_from_the_future_is_set_aside_and_out_of_sight() -> None:
    sink, publisher = sink_of()
    sink.quote(quote(100))
    sink.quote(replace(quote(200), ts=START + timedelta(days=1)))
    sink.quote(quote(300))
    assert [reason for _, reason, _ in publisher.dead] == ["future"]
    assert gaps(publisher) == [(BTC, "00.100", "future"), (BTC, "00.300", "future: over")]


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


def test_the_tail_keeps_refills_apart_so_that_old_ones_open_no_hole() -> None:
    tail = LogTail()
    for one in (trade(100), trade(102), trade(7, source="rest"), trade(101, source="rest")):
        tail.take(orjson.loads(encode(one)))
    tail.take(orjson.loads(encode(quote(3000))))
    seen = tail.filter(0.0)
    assert (seen.floor, seen.top, seen.missing) == (100, 102, 0)
    assert tail.last_quote == quote(3000).ts


def test_a_dead_letter_sent_again_opens_no_hole_at_the_next_start() -> None:
    live: list[Event] = [trade(1_000_000), trade(1_000_002), quote(3000)]
    again: list[Event] = [trade(7), trade(1_000_001), trade(9_000_000), quote(1)]
    sent = [(one, [SCHEMA_HEADER]) for one in live] + [(one, [SCHEMA_HEADER, REPLAY_HEADER]) for one in again]
    log = Mock()
    log.list_topics.return_value.topics = {EVENTS_TOPIC: Mock(error=None, partitions=[0])}
    log.get_watermark_offsets.return_value = (0, len(sent))
    log.consume.return_value = [
        Mock(
            error=Mock(return_value=None),
            partition=Mock(return_value=0),
            offset=Mock(return_value=offset),
            value=Mock(return_value=encode(one)),
            headers=Mock(return_value=headers),
        )
        for offset, (one, headers) in enumerate(sent)
    ]
    tail = read_tail(log, [BTC])[BTC]
    seen = tail.filter(0.0)
    assert (seen.floor, seen.top, seen.missing) == (1_000_000, 1_000_002, 0)
    assert tail.last_quote == quote(3000).ts
    nothing_else = LogTail()
    nothing_else.take(orjson.loads(encode(trade(7))), replayed=True)
    assert nothing_else.filter(0.0).floor is None


def test_a_symbol_that_is_not_in_the_log_does_not_cost_millions_of_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    read = 0

    def messages(_log: object, _topic: str, spans: dict[int, OffsetRange]) -> list[Mock]:
        nonlocal read
        read += sum(span.end - span.start for span in spans.values())
        return [Mock(value=Mock(return_value=encode(trade(5))), headers=Mock(return_value=None))]

    monkeypatch.setattr("ingestion.producer.resume.bounds", lambda *_: {0: OffsetRange(0, 10_000_000)})
    monkeypatch.setattr("ingestion.producer.resume.messages", messages)
    assert set(read_tail(Mock(), [BTC, ETH])) == {BTC}
    assert read < 250_000
