"""The log's tail at the start: which trades are known, and which messages say nothing about that."""

from unittest.mock import Mock

import orjson
import pytest

from ingestion.producer.resume import LogTail, read_tail
from lakehouse.messages import REPLAY_HEADER, SCHEMA_HEADER, encode
from lakehouse.records import Event
from lakehouse.settings import EVENTS_TOPIC
from lakehouse.stores.kafka_reading import OffsetRange
from tests.support.producing import BTC, ETH, quote, trade


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
