"""The pipeline on fake servers: the order of its steps, retries, poison, first deliveries and what Redis is told."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

import pytest

from features.spec import EngineConfig
from ingestion.consumer.pipeline import MAX_PUBLISHED, Pipeline, Stores
from ingestion.consumer.refusals import MAX_REFUSED
from ingestion.kafka_log.batches import RawMessages, read
from ingestion.kafka_log.position import Position
from lakehouse.errors import FatalError, RetryableError
from lakehouse.messages import encode
from lakehouse.records import Event, Quote, Trade
from lakehouse.settings import EVENTS_TOPIC, HISTORY_TOPIC
from tests.support.fakes import FakeLetters, FakeQuestDB, FakeRedis, Impatient, Steps

START = datetime(2026, 10, 1, tzinfo=UTC)
BTC = "BTC/USD"
AWAY = RetryableError("the server is away")
EPOCH = 1


class Consumer:
    """A pipeline on fakes, given batches of one partition as the consumer's loop gives them."""

    def __init__(self) -> None:
        self.steps = Steps()
        self.questdb, self.redis = FakeQuestDB(self.steps), FakeRedis(self.steps)
        self.letters = FakeLetters(self.steps)
        self.halt = Impatient()
        self.pipeline = Pipeline(Stores(self.questdb, self.redis, self.letters), EngineConfig(), self.halt)
        self.go_to(0)

    def go_to(self, offset: int) -> None:
        """Starts anew from an offset, as after a rebalance."""
        self.pipeline.forget({0})
        self.pipeline.place({(topic, 0): Position(EPOCH, offset) for topic in (EVENTS_TOPIC, HISTORY_TOPIC)})

    def take(self, first: int, events: Sequence[Event | bytes], topic: str = EVENTS_TOPIC) -> None:
        """Processes a batch whose first message has the offset ``first``."""
        values = [event if isinstance(event, bytes) else encode(event) for event in events]
        part, dead = read(topic, EPOCH, RawMessages.of(0, first, values), 5.0)
        self.pipeline.process([part], dead)

    def seqs(self, table: str) -> list[int]:
        return sorted(self.questdb[table]["seq"])

    @property
    def published(self) -> list[int]:
        return [row.seq for row in self.redis.published]


@pytest.fixture
def consumer() -> Iterator[Consumer]:
    made = Consumer()
    yield made
    made.pipeline.close()


def trade(number: int, at_s: float | None = None) -> Trade:
    """Trade ``number`` happens at second ``number``."""
    ts = START + timedelta(seconds=number if at_s is None else at_s)
    return Trade(BTC, number, 100.0, 1.0, "buy", "limit", ts, ts, "sim")


def trades(first: int, last: int) -> list[Trade]:
    return [trade(number) for number in range(first, last + 1)]


def quote(second: float) -> Quote:
    ts = START + timedelta(seconds=second)
    return Quote(BTC, 99.0, 1.0, 101.0, 1.0, ts, ts, "sim")


def test_bronze_comes_before_silver_before_redis_before_the_position(consumer: Consumer) -> None:
    consumer.take(0, [trade(1), quote(1.5), trade(2)])
    consumer.pipeline.record({(EVENTS_TOPIC, 0): Position(EPOCH, 3)})
    done = consumer.steps.done
    assert sorted(done[:2]) == ["bronze_quotes", "bronze_trades"], "side by side"
    assert done[2:] == ["silver_features", "redis", "meta_positions"]
    assert (consumer.seqs("bronze_trades"), consumer.seqs("bronze_quotes")) == ([0, 2], [1])
    assert consumer.seqs("silver_features") == consumer.published == [0, 2]
    assert consumer.pipeline.stands_at(EVENTS_TOPIC, 0, Position(EPOCH, 3))


@pytest.mark.parametrize("step", ["bronze_trades", "silver_features", "redis"])
def test_a_server_that_is_away_is_asked_until_it_answers(consumer: Consumer, step: str) -> None:
    consumer.steps.fail(step, *[AWAY] * 5)
    consumer.take(0, trades(1, 3))
    assert consumer.steps.done == ["bronze_trades", "silver_features", "redis"]
    assert consumer.seqs("bronze_trades") == consumer.seqs("silver_features") == consumer.published == [0, 1, 2]


@pytest.mark.parametrize("step", ["bronze_trades", "silver_features", "redis"])
def test_a_batch_halted_in_any_step_is_processed_again_with_the_same_rows(consumer: Consumer, step: str) -> None:
    straight = Consumer()
    for one in (straight, consumer):
        one.take(0, trades(1, 3))
    consumer.steps.fail(step, *[AWAY] * consumer.halt.waits)
    with pytest.raises(RetryableError, match="away"):
        consumer.take(3, trades(4, 6))
    consumer.halt.clear()
    consumer.go_to(3)
    for one in (straight, consumer):
        one.take(3, trades(4, 6))
    straight.pipeline.close()
    for table in ("bronze_trades", "silver_features"):
        assert consumer.questdb[table].equals(straight.questdb[table]), table
    assert consumer.published == straight.published == list(range(6))


def test_a_refused_row_is_set_aside_and_the_rest_is_kept(consumer: Consumer) -> None:
    consumer.questdb.poison.add(("bronze_trades", 5))
    consumer.take(0, trades(1, 16))
    assert consumer.seqs("bronze_trades") == [seq for seq in range(16) if seq != 5]
    (letter,) = consumer.letters.sent
    assert (letter.reason, letter.topic, letter.partition, letter.offset) == ("refused", EVENTS_TOPIC, 0, 5)
    assert letter.payload == encode(trade(6))
    assert 5 not in consumer.published, "bronze lacks it, so silver must not know it"
    consumer.questdb.poison.clear()
    consumer.take(16, [trade(6)])
    assert consumer.seqs("bronze_trades") == [seq for seq in range(17) if seq != 5], "sent again, it is no double"


def test_a_refused_silver_row_names_the_message_that_caused_it(consumer: Consumer) -> None:
    consumer.questdb.poison.add(("silver_features", 2))
    consumer.take(0, trades(1, 4))
    assert consumer.seqs("bronze_trades") == [0, 1, 2, 3]
    assert consumer.seqs("silver_features") == [0, 1, 3]
    (letter,) = consumer.letters.sent
    assert (letter.offset, letter.detail[:10]) == (2, "silver row")


def test_what_cannot_be_read_is_set_aside_before_anything_is_written(consumer: Consumer) -> None:
    consumer.steps.fail("letters", AWAY)
    consumer.take(0, [trade(1), b"{", trade(2)])
    assert consumer.steps.done[0] == "letters"
    assert [(letter.offset, letter.payload) for letter in consumer.letters.sent] == [(1, b"{")]
    assert consumer.seqs("bronze_trades") == [0, 2]


def test_a_flood_of_refusals_stops_before_it_is_set_aside(consumer: Consumer) -> None:
    consumer.questdb.poison |= {("bronze_trades", seq) for seq in range(200)}
    with pytest.raises(FatalError, match=r"refused 21 of the last 200 rows of bronze_trades"):
        consumer.take(0, trades(1, 200))
    assert MAX_REFUSED == 20 and consumer.letters.sent == []
    assert consumer.published == []


def test_the_first_delivery_wins(consumer: Consumer) -> None:
    consumer.take(0, trades(1, 3))
    consumer.take(3, [trade(2, at_s=2.5), trade(4)])
    consumer.take(0, [trade(3, at_s=3.5), trade(0)], HISTORY_TOPIC)
    held = consumer.questdb["bronze_trades"]
    assert held["trade_id"].to_list() == [0, 1, 2, 3, 4]
    assert [ts - START for ts in held["ts"]] == [timedelta(seconds=second) for second in range(5)]
    assert consumer.published == [0, 1, 2, 4]


def test_history_ends_in_bronze(consumer: Consumer) -> None:
    consumer.take(0, trades(1, 3), HISTORY_TOPIC)
    assert consumer.steps.done == ["bronze_trades"]
    assert set(consumer.questdb["bronze_trades"]["origin"]) == {"history"}


def test_a_late_event_goes_to_bronze_and_publishes_nothing(consumer: Consumer) -> None:
    consumer.take(0, [trade(1), trade(3)])
    consumer.steps.done.clear()
    consumer.take(2, [trade(2)])
    assert consumer.steps.done == ["bronze_trades"]
    assert consumer.published == [0, 1]


def test_a_redelivery_changes_no_row_and_publishes_nothing_older(consumer: Consumer) -> None:
    consumer.take(0, trades(1, 4))
    before = {table: consumer.questdb[table] for table in ("bronze_trades", "silver_features")}
    consumer.go_to(1)
    consumer.take(1, trades(2, 3))
    assert consumer.published == [0, 1, 2, 3]
    consumer.take(3, trades(4, 5))
    for table, rows in before.items():
        assert consumer.questdb[table].head(rows.height).equals(rows), table
    assert consumer.published == [0, 1, 2, 3, 3, 4]


def test_behind_the_market_only_the_newest_rows_are_published(consumer: Consumer) -> None:
    consumer.take(0, trades(1, 3 * MAX_PUBLISHED))
    assert consumer.seqs("silver_features") == list(range(3 * MAX_PUBLISHED))
    assert consumer.published == list(range(2 * MAX_PUBLISHED, 3 * MAX_PUBLISHED))
