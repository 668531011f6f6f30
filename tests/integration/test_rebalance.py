"""Several consumers in one group: they share the symbols and hand them over without a seam and without a double."""

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from ingestion.consumer import loop
from ingestion.consumer.pipeline import Stores
from ingestion.kafka_log import delivery
from ingestion.kafka_log.dead_letter_writer import DeadLetterWriter
from lakehouse.errors import RetryableError
from lakehouse.settings import EVENTS_TOPIC, Settings
from lakehouse.stores import kafka
from lakehouse.stores.questdb import QuestDB
from lakehouse.stores.redis import Redis
from stack.envfile import child_environment
from stack.supervision.process import run
from tests.integration.consuming import assert_same_rows, log_of, market, migrated, offline, send, table, wait_done
from tests.integration.lakes import eventually
from tests.support.servers import free_ports

SYMBOLS = ("BTC/USD", "ETH/USD", "SOL/USD", "XRP/USD", "ADA/USD", "DOT/USD")


@pytest.fixture
def settings(fresh_lake: Settings) -> Settings:
    """A lake with tables and topics, small batches."""
    return migrated(fresh_lake.model_copy(update={"batch_events": 200}))


@contextmanager
def member(settings: Settings) -> Iterator[subprocess.Popen[bytes]]:
    """A consumer as a process of its own; stopped at the end if it still runs."""
    mine = settings.model_copy(update={"consumer_metrics_port": free_ports(1)[0]})
    child = subprocess.Popen(run("consumer"), env=child_environment(mine))
    try:
        yield child
    finally:
        child.terminate()
        assert child.wait(30) is not None


def members(settings: Settings) -> list[int]:
    """How many partitions of market.events each member has."""
    client = kafka.admin(settings)
    group = client.describe_consumer_groups([kafka.GROUP])[kafka.GROUP].result(20)
    return sorted(
        sum(part.topic == "market.events" for part in found.assignment.topic_partitions) for found in group.members
    )


def feed(settings: Settings, first: int, count: int = 150) -> None:
    """The next events of every symbol, side by side."""
    streams = [market(symbol, count, first, seed=i) for i, symbol in enumerate(SYMBOLS)]
    send(settings, [event for row in zip(*streams, strict=True) for event in row])


@pytest.fixture
def feed_alone(settings: Settings) -> Iterator[loop.ConsumerLoop]:
    """A consumer whose steps the test calls."""
    questdb, letters = QuestDB(settings), DeadLetterWriter(kafka.producer(settings))
    stores = Stores(questdb, Redis(settings), letters)
    client = kafka.consumer(settings)
    yield loop.ConsumerLoop(settings, client, kafka.admin(settings), stores, threading.Event())
    client.close()
    questdb.close()


def away() -> delivery.Ends:
    raise RetryableError("QuestDB is away")


def test_after_partitions_were_lost_a_batch_still_waits_for_servers(feed_alone: loop.ConsumerLoop) -> None:
    feed_alone._on_lost(feed_alone._client, [])
    calls: list[None] = []

    def away_at_first() -> str:
        calls.append(None)
        return "back" if len(calls) > 1 else str(away())

    assert feed_alone._pipeline._retry("questdb", away_at_first) == "back"


def test_a_batch_that_nobody_halted_is_not_passed_over(feed_alone: loop.ConsumerLoop) -> None:
    feed_alone._job = feed_alone._worker.submit(away)
    with pytest.raises(RetryableError):
        feed_alone._end_job(5.0)
    feed_alone._job = feed_alone._worker.submit(lambda: feed_alone._pipeline._retry("questdb", away))
    feed_alone._end_job(0.5)
    assert not feed_alone._halt.is_set()


def test_what_is_given_back_while_paused_is_fetched_again(settings: Settings, feed_alone: loop.ConsumerLoop) -> None:
    client = feed_alone._client
    client.subscribe([EVENTS_TOPIC], on_assign=feed_alone._on_assign, on_revoke=feed_alone._on_revoke)
    feed(settings, 0, 2)
    eventually(lambda: client.consume(1, 0.1))
    client.pause(client.assignment())
    other = kafka.consumer(settings)
    other.subscribe([EVENTS_TOPIC])

    def shared() -> bool:
        other.consume(1, 0.1)
        client.consume(1, 0.1)
        return len(client.assignment()) == len(other.assignment()) == 4

    eventually(shared, 60)
    other.close()
    partitions: set[int] = set()

    def all_come() -> bool:
        partitions.update(message.partition() for message in client.consume(10, 0.1))
        return partitions == {kafka.partition_of(symbol, 8) for symbol in SYMBOLS}

    eventually(all_come, 60)


@pytest.mark.timeout(240)
def test_symbols_change_hands_without_a_seam(settings: Settings) -> None:
    with member(settings) as first:
        feed(settings, 0)
        wait_done(settings)
        with member(settings) as second:
            feed(settings, 150)
            eventually(lambda: members(settings) == [4, 4], 60)
            feed(settings, 300)
            wait_done(settings)
            second.kill()
            second.wait()
            feed(settings, 450)
            eventually(lambda: members(settings) == [8], 60)
            with member(settings):
                feed(settings, 600)
                eventually(lambda: members(settings) == [4, 4], 60)
                feed(settings, 750)
                first.terminate()
                assert first.wait(30) == 0
                feed(settings, 900)
                wait_done(settings)
    log = log_of(settings)
    trades = table(settings, "bronze_trades", "symbol, trade_id")
    assert trades.height == log.filter(log["type"] == "trade").height
    assert trades.select("symbol", "trade_id").n_unique() == trades.height
    assert table(settings, "bronze_quotes").height == log.filter(log["type"] == "quote").height
    assert_same_rows(table(settings, "silver_features"), offline(settings, log))
