"""Batches with poison in them: what is bad is set aside, the rest keeps its order."""

from datetime import UTC, datetime, timedelta

from hypothesis import example, given
from hypothesis import strategies as st

from ingestion.kafka_log.batches import RawMessages, read
from lakehouse.messages import encode
from lakehouse.records import Trade
from lakehouse.settings import EVENTS_TOPIC, HISTORY_TOPIC

NOW = datetime(2026, 10, 1, tzinfo=UTC)


def trade(number: int, symbol: str = "BTC/USD") -> bytes:
    ts = NOW + timedelta(seconds=number)
    return encode(Trade(symbol, number, 100.0, 1.0, "buy", "limit", ts, ts, "sim"))


@given(
    st.lists(st.booleans(), min_size=1, max_size=30), st.sampled_from([b"", b"{", b"[]", b"{}\n{}", b"\xff", b"nan"])
)
def test_poison_is_set_aside_and_the_rest_keeps_its_order(good: list[bool], poison: bytes) -> None:
    raws = RawMessages.of(3, 100, [trade(i) if fine else poison for i, fine in enumerate(good)])
    part, dead = read(EVENTS_TOPIC, 2, raws, 5.0)
    assert part.events["trade_id"].to_list() == [i for i, fine in enumerate(good) if fine]
    assert part.events["seq"].to_list() == [100 + i for i, fine in enumerate(good) if fine]
    assert sorted((x.partition, x.offset, x.payload) for x in dead) == [
        (3, 100 + i, poison) for i, fine in enumerate(good) if not fine
    ]
    assert {x.reason for x in dead} <= {"unparsable", "unknown_type", "missing_field"}


@given(st.binary(max_size=80))
@example(b"\x1f\x8b")
@example(b"\x78\x9c")
@example(b"\x28\xb5\x2f\xfd")
def test_no_bytes_crash_the_reader(value: bytes) -> None:
    part, dead = read(EVENTS_TOPIC, 1, RawMessages.of(0, 7, [value, trade(1)]), 5.0)
    assert part.events["trade_id"].to_list() == [1]
    assert [x.offset for x in dead] == [7]


def test_the_topic_says_live_or_history() -> None:
    origins = [
        read(topic, 1, RawMessages.of(0, 0, [trade(1)]), 5.0)[0].origin for topic in (EVENTS_TOPIC, HISTORY_TOPIC)
    ]
    assert origins == ["live", "history"]
