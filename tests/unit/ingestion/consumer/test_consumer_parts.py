"""The pure parts of the consumer: batches with poison in them, first deliveries, and where to start."""

import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from confluent_kafka import KafkaError, KafkaException
from hypothesis import example, given
from hypothesis import strategies as st

from ingestion.completeness.interval_set import IntervalSet
from ingestion.consumer import start_offsets
from ingestion.consumer.first_delivery import HeldTrades, RedeliveredTrades, by_symbol, first_deliveries
from ingestion.consumer.start_offsets import lost_tables, resumable, start_offset
from ingestion.dead_letters import letters
from ingestion.kafka_log.batches import RawMessages, read
from ingestion.silver import rebuild
from lakehouse.errors import FatalError, LakeError, RetryableError
from lakehouse.messages import encode
from lakehouse.records import Trade
from lakehouse.settings import EVENTS_TOPIC, HISTORY_TOPIC
from lakehouse.stores import kafka
from lakehouse.stores.kafka import partition_of
from stack.envfile import child_environment
from tests.support.servers import scratch_settings

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


def trades(*rows: tuple[str, int, int]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema={"symbol": pl.String, "trade_id": pl.Int64, "seq": pl.Int64}, orient="row")


def test_the_first_delivery_wins_also_within_a_batch() -> None:
    held = {"BTC/USD": HeldTrades(IntervalSet.of(np.array([1, 2]))), "ETH/USD": HeldTrades()}
    batch = trades(("BTC/USD", 2, 50), ("ETH/USD", 2, 51), ("BTC/USD", 3, 52), ("BTC/USD", 3, 53), ("ETH/USD", 1, 54))
    assert first_deliveries(batch, "live", held).tolist() == [False, True, True, False, True]
    assert first_deliveries(batch, "live", held).tolist() == [False] * 5


def test_a_redelivery_of_the_row_in_bronze_is_taken_again_but_no_double_of_it() -> None:
    # Bronze has trade 5 from offset 10; Kafka holds a double of it at offset 20.
    held = {
        "BTC/USD": HeldTrades(IntervalSet.of(np.array([5])), {"live": RedeliveredTrades(np.array([10]), np.array([5]))})
    }
    batch = trades(("BTC/USD", 5, 10), ("BTC/USD", 5, 20))
    assert first_deliveries(batch, "live", held).tolist() == [True, False]
    assert first_deliveries(batch, "history", held).tolist() == [False, False]


def test_a_held_trade_at_an_offset_given_out_twice_is_no_redelivery() -> None:
    # The log lost its tail: offset 10 held trade 5 and holds a double of trade 4 now, offset 30 was never seen.
    redelivered = RedeliveredTrades(np.array([10, 20]), np.array([5, 6]))
    held = {"BTC/USD": HeldTrades(IntervalSet.of(np.array([4, 5, 6])), {"live": redelivered})}
    batch = trades(("BTC/USD", 4, 10), ("BTC/USD", 6, 20), ("BTC/USD", 5, 30))
    assert first_deliveries(batch, "live", held).tolist() == [False, True, False]


@given(st.lists(st.sampled_from(["A/B", "C/D", "E/F"]), max_size=30))
def test_rows_are_grouped_by_symbol_in_order(symbols: list[str]) -> None:
    found = by_symbol(pl.Series(symbols, dtype=pl.String))
    assert {s: rows.tolist() for s, rows in found} == {
        s: [i for i, x in enumerate(symbols) if x == s] for s in set(symbols)
    }


@pytest.mark.parametrize(
    ("trades", "quotes", "silver", "expected"),
    [
        ({0, 1}, {0, 1}, {0, 1}, []),
        ({0, 1}, {1}, {0, 1}, ["quotes"]),
        ({0, 1}, set(), set(), ["quotes", "silver"]),
        ({1}, {1}, {1}, []),  # nothing but poison ever came to partition 0
        (set(), set(), set(), ["trades", "quotes", "silver"]),  # an empty folder
    ],
)
def test_a_table_that_was_made_anew_shows_beside_the_others(
    trades: set[int], quotes: set[int], silver: set[int], expected: list[str]
) -> None:
    assert lost_tables({"trades": trades, "quotes": quotes, "silver": silver}, 0) == expected


@pytest.mark.parametrize(
    ("committed", "low", "high", "held", "expected"),
    [
        (120, 100, 200, 0, 120),  # goes on
        (200, 200, 200, 0, 200),  # at the end
        (None, 0, 50, 0, 0),  # a new lake
        (None, 0, 50, 30, 0),  # the group was lost, the log was not
        (None, 100, 200, 150, 100),  # the same, after trimming: all below 100 is in bronze
        (90, 100, 200, 150, 100),  # bronze was ahead of the commit
        (None, 0, 0, 0, 0),
    ],
)
def test_where_to_start(committed: int | None, low: int, high: int, held: int, expected: int) -> None:
    assert start_offset(committed, low, high, held, "t/0") == expected


@pytest.mark.parametrize(
    ("committed", "low", "high", "held"),
    [
        (90, 100, 200, 95),  # messages 95 to 99 are gone
        (None, 100, 200, 0),  # somebody else trimmed the log
        (300, 100, 200, 300),  # Kafka lost its tail
    ],
)
def test_a_lost_position_is_an_error_with_a_remedy(committed: int | None, low: int, high: int, held: int) -> None:
    with pytest.raises(FatalError, match="accept-loss"):
        start_offset(committed, low, high, held, "market.events/0")


@pytest.mark.parametrize(
    ("committed", "recorded", "low", "held", "expected"),
    [
        (700, 700, 0, 0, 700),  # nothing but poison in the partition: the position says so, bronze cannot
        (700, 300, 0, 290, 300),  # QuestDB is an earlier copy
        (500, 700, 0, 690, 500),  # killed between the position and the commit
        (700, 700, 700, 0, 700),  # all of it trimmed
        (700, None, 100, 650, 650),  # a lake from before positions were recorded
        (700, None, 700, 0, 700),
    ],
)
def test_the_older_of_commit_and_position_counts(
    committed: int, recorded: int | None, low: int, held: int, expected: int
) -> None:
    assert resumable(committed, recorded, low, held, "t/0") == expected


def test_what_neither_questdb_nor_kafka_holds_is_an_error_with_a_remedy() -> None:
    with pytest.raises(FatalError, match=r"give up 50 messages.*accept-loss"):
        resumable(700, 300, 350, 290, "market.events/0")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (KafkaError(KafkaError._TRANSPORT), RetryableError),
        (KafkaError(KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER, "", True), FatalError),
        (KafkaError(KafkaError._FATAL), FatalError),
    ],
)
def test_a_client_that_is_broken_for_good_is_not_asked_again(error: KafkaError, kind: type[LakeError]) -> None:
    assert type(kafka.kafka_error(KafkaException(error), "Kafka")) is kind


def test_keys_go_where_kafkas_java_client_puts_them() -> None:
    # Values of murmur2 from Kafka's own UtilsTest.
    known = {"21": -973932308, "foobar": -790332482, "a-little-bit-long-string": -985981536}
    for key, value in known.items():
        assert partition_of(key, 1000) == (value & 0x7FFFFFFF) % 1000


@pytest.mark.parametrize(
    ("main", "arguments"),
    [
        (letters.main, ["list"]),
        (start_offsets.main, ["accept-loss"]),
        (rebuild.main, ["--symbol", "BTC/USD"]),
    ],
)
def test_a_command_says_in_a_line_that_a_server_is_away(
    main: Callable[[], int | None], arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in child_environment(scratch_settings(tmp_path)).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "argv", ["command", *arguments])
    monkeypatch.setattr(kafka, "TIMEOUT_S", 0.5)
    with pytest.raises(SystemExit) as ended:
        sys.exit(main())
    assert ended.value.code == 1 or "failed: " in str(ended.value.code)
