"""The consumer on real servers: each message once, restarts without a seam, poison aside, servers that go away."""

import os
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from datetime import timedelta

import httpx
import polars as pl
import pytest
from confluent_kafka import Producer, TopicPartition

from features.spec import NAMES
from ingestion.dead_letters import listing
from lakehouse.errors import FatalError
from lakehouse.messages import decode, encode
from lakehouse.records import Event, Trade
from lakehouse.settings import EVENTS_TOPIC, HISTORY_TOPIC, Settings
from lakehouse.stores import kafka
from lakehouse.stores.kafka import partition_of
from lakehouse.stores.questdb import QuestDB
from lakehouse.stores.redis import FEATURES, Redis
from tests.integration.consuming import (
    START,
    assert_same_rows,
    consuming,
    log_of,
    market,
    migrated,
    offline,
    send,
    table,
    wait_done,
)
from tests.integration.lakes import drop_tables, eventually
from tests.support.servers import LocalServers

# As our own producer places and packs messages.
PACKED = {"compression.type": "lz4", "partitioner": "murmur2_random"}


@pytest.fixture
def settings(fresh_lake: Settings) -> Settings:
    """A lake with tables and topics but without data, whose consumer takes small batches."""
    return migrated(fresh_lake.model_copy(update={"batch_events": 300}))


def test_every_event_once_in_bronze_and_silver_as_folded_offline(settings: Settings) -> None:
    events = [e for pair in zip(market("BTC/USD", 900), market("ETH/USD", 900, seed=2), strict=True) for e in pair]
    doubled = [*events[:400], *events[100:160], *events[400:]]
    send(settings, doubled)
    with consuming(settings) as errors:
        wait_done(settings)
    assert not errors
    trades = table(settings, "bronze_trades", "symbol, trade_id")
    expected = [e for e in events if isinstance(e, Trade)]
    assert trades.select("symbol", "trade_id", "price", "qty", "side").rows() == sorted(
        (e.symbol, e.trade_id, e.price, e.qty, e.side) for e in expected
    )
    log = log_of(settings)
    assert table(settings, "bronze_quotes").height == log.filter(pl.col("type") == "quote").height
    assert table(settings, "bronze_gaps").height == log.filter(pl.col("type") == "gap").height
    silver = table(settings, "silver_features")
    assert silver.height > 300
    assert_same_rows(silver, offline(settings, log))
    newest = Redis(settings).latest(FEATURES, "BTC/USD")
    last = silver.filter(pl.col("symbol") == "BTC/USD").row(-1, named=True)
    assert newest is not None
    assert (newest.seq, newest.spec, newest.complete) == (last["seq"], last["spec"], last["complete"])
    assert list(newest.values) == list(NAMES)
    assert newest.values["last"] == last["last"]


@pytest.mark.parametrize("dropped", ["bronze_quotes", "silver_features", "all tables"])
def test_tables_dropped_under_load_stop_the_consumer_and_are_filled_from_the_log_again(
    settings: Settings, dropped: str
) -> None:
    events = market("BTC/USD", 1200)
    send(settings, events[:400])
    with consuming(settings) as errors:
        wait_done(settings)
        if dropped == "all tables":
            drop_tables(settings)
        else:
            QuestDB(settings).execute(f"DROP TABLE {dropped}")
        sent = 400
        # The first batch after the drop may still be acknowledged, into the void; a later one is refused.
        while not errors:
            assert sent < len(events), "nothing was refused"
            send(settings, events[sent : sent + 10])
            sent += 10
            time.sleep(0.5)
    assert isinstance(errors[0], FatalError) and "does not exist" in str(errors[0])
    send(settings, events[sent:])
    with consuming(settings) as errors:
        wait_done(settings)
    assert not errors
    with closing(kafka.consumer(settings, group="letters")) as client:
        assert listing.read(client) == []
    # All of it, since Kafka holds all of it: also what QuestDB acknowledged for a table that was gone already.
    log = log_of(settings)
    for kind, name in (("trade", "bronze_trades"), ("quote", "bronze_quotes"), ("gap", "bronze_gaps")):
        assert table(settings, name)["seq"].to_list() == log.filter(pl.col("type") == kind)["seq"].to_list()
    assert_same_rows(table(settings, "silver_features"), offline(settings, log))


def test_restarts_leave_no_seam_in_the_features(settings: Settings) -> None:
    for part in range(4):
        send(settings, market("BTC/USD", 250, first=250 * part))
        with consuming(settings) as errors:
            wait_done(settings)
        assert not errors
    assert_same_rows(table(settings, "silver_features"), offline(settings, log_of(settings)))


def test_delivering_everything_again_changes_nothing(settings: Settings) -> None:
    send(settings, market("BTC/USD", 600))
    with consuming(settings):
        wait_done(settings)
    before = {name: table(settings, name) for name in ("bronze_trades", "bronze_quotes", "silver_features")}
    client = kafka.consumer(settings)
    place = TopicPartition(EVENTS_TOPIC, partition_of("BTC/USD", settings.kafka_partitions), 200)
    client.commit(offsets=[place], asynchronous=False)
    client.close()
    with consuming(settings) as errors:
        wait_done(settings)
    assert not errors
    for name, rows in before.items():
        assert table(settings, name).equals(rows), name


def test_a_trade_that_also_comes_by_rest_stays_one(settings: Settings) -> None:
    live = [e for e in market("BTC/USD", 200) if isinstance(e, Trade)]
    send(settings, live)
    with consuming(settings):
        wait_done(settings)
        later = [replace(e, ts=e.ts + timedelta(microseconds=1), source="rest") for e in live]
        missed = replace(later[-1], trade_id=later[-1].trade_id + 1)
        send(settings, later)
        send(settings, [*later, missed], HISTORY_TOPIC)
        wait_done(settings)
    trades = table(settings, "bronze_trades", "trade_id")
    assert trades["trade_id"].to_list() == [*(e.trade_id for e in live), missed.trade_id]
    assert trades["origin"].to_list() == ["live"] * len(live) + ["history"]
    assert trades["source"].to_list() == ["sim"] * len(live) + ["rest"]


def test_poison_goes_aside_with_its_origin_and_the_rest_goes_on(settings: Settings) -> None:
    good = market("BTC/USD", 40)
    ahead = replace(next(e for e in good if isinstance(e, Trade)), trade_id=10_000, ts=START + timedelta(days=1))
    send(settings, good[:20])
    send(settings, [b"not json", b'{"type":"trade","symbol":"BTC/USD"}'], key="BTC/USD")
    send(settings, [ahead, *good[20:]])
    with consuming(settings) as errors:
        wait_done(settings)
    assert not errors
    assert_same_rows(table(settings, "silver_features"), offline(settings, _events(good)))
    client = kafka.consumer(settings, group="letters")
    found = listing.read(client)
    client.close()
    partition = partition_of("BTC/USD", settings.kafka_partitions)
    assert sorted((x.reason, x.origin) for x in found) == [
        ("future", f"{EVENTS_TOPIC}/{partition}@22"),
        ("missing_field", f"{EVENTS_TOPIC}/{partition}@21"),
        ("unparsable", f"{EVENTS_TOPIC}/{partition}@20"),
    ]
    assert b"not json" in {x.payload for x in found}


def test_poison_as_large_as_kafka_takes_it_goes_aside_whole(settings: Settings) -> None:
    poison = [os.urandom(1_040_000), b"x" * 5_000_000, b"y" * (kafka.MAX_BYTES + 1)]
    larger = Producer({"bootstrap.servers": kafka.bootstrap(settings), "message.max.bytes": 20_000_000} | PACKED)
    good = market("BTC/USD", 40)
    send(settings, good[:20])
    for value in poison:
        larger.produce(EVENTS_TOPIC, value, "BTC/USD")
        assert larger.flush(20) == 0
    send(settings, good[20:])
    with consuming(settings) as errors:
        wait_done(settings)
    assert not errors
    assert table(settings, "bronze_trades").height == sum(isinstance(event, Trade) for event in good)
    client = kafka.consumer(settings, group="letters")
    found = listing.read(client)
    client.close()
    assert [x.payload == value for x, value in zip(found, poison, strict=True)] == [True, True, False]
    assert poison[2].startswith(found[2].payload)
    assert [x.origin.rpartition("@")[2] for x in found] == ["20", "21", "22"]


def _events(good: Sequence[Event]) -> pl.DataFrame:
    """The good events with the offsets that they have in a log with three bad ones after the twentieth."""
    seqs = [i if i < 20 else i + 3 for i in range(len(good))]
    return decode([encode(e) for e in good], 1, seqs)


@pytest.mark.parametrize("server", ["questdb", "redis", "kafka"])
def test_a_server_that_is_away_makes_it_wait_and_go_on(settings: Settings, servers: LocalServers, server: str) -> None:
    with consuming(settings) as errors:
        send(settings, market("BTC/USD", 200))
        wait_done(settings)
        servers.kill(server)
        if server != "kafka":
            send(settings, market("BTC/USD", 200, first=200))
        time.sleep(3)
        servers.start(server)
        send(settings, market("BTC/USD", 200, first=200 if server == "kafka" else 400))
        wait_done(settings)
    assert not errors
    log = log_of(settings)
    assert table(settings, "bronze_trades").height == log.filter(pl.col("type") == "trade").height
    assert_same_rows(table(settings, "silver_features"), offline(settings, log))


def test_a_lost_position_is_reported_not_jumped_over(settings: Settings) -> None:
    send(settings, market("BTC/USD", 100))
    with consuming(settings):
        wait_done(settings)
    send(settings, market("BTC/USD", 100, first=100))
    partition = partition_of("BTC/USD", settings.kafka_partitions)
    client = kafka.admin(settings)
    for future in client.delete_records([TopicPartition(EVENTS_TOPIC, partition, 150)]).values():
        future.result(20)
    with consuming(settings) as errors:
        eventually(lambda: errors)
    assert isinstance(errors[0], FatalError)
    assert f"{EVENTS_TOPIC}/{partition}" in str(errors[0])
    assert "50 messages" in str(errors[0])


def test_it_tells_prometheus_how_far_it_is_behind_while_it_waits(settings: Settings, servers: LocalServers) -> None:
    send(settings, market("BTC/USD", 100))
    servers.start("consumer")

    def metrics() -> str:
        return httpx.get(f"http://127.0.0.1:{settings.consumer_metrics_port}/metrics").text

    try:
        wait_done(settings)
        text = metrics()
        assert 'trades_ingested_total{source="sim",symbol="BTC/USD"} 49.0' in text
        assert "feature_freshness_seconds" in text
        assert "consumer_paused 0.0" in text
        lag = f'consumer_lag_records{{partition="{partition_of("BTC/USD", 8)}",topic="market.events"}}'
        assert f"{lag} 0.0" in text
        servers.kill("questdb")
        send(settings, market("BTC/USD", 70, first=100))
        eventually(lambda: f"{lag} 70.0" in metrics())
        send(settings, market("BTC/USD", 30, first=170))
        eventually(lambda: f"{lag} 100.0" in metrics())
    finally:
        assert servers.stop("consumer") == 0
        servers.start("questdb")
