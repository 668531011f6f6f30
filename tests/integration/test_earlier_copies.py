"""Servers put back to an earlier copy of their folders: what the log still holds comes back, the rest is reported."""

import shutil
from pathlib import Path

import polars as pl
import pytest
from confluent_kafka import TopicPartition

from ingestion.consumer.start_offsets import accept_loss
from lakehouse.errors import FatalError
from lakehouse.settings import EVENTS_TOPIC, Settings
from lakehouse.stores import kafka
from lakehouse.stores.kafka import partition_of
from lakehouse.stores.questdb import QuestDB
from stack.layout import layout
from tests.integration.consuming import (
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
from tests.integration.lakes import eventually
from tests.support.servers import LocalServers


@pytest.fixture
def settings(fresh_lake: Settings, servers: LocalServers, tmp_path: Path) -> Settings:
    """A lake whose QuestDB was put back to when it held 300 of the 700 events that the consumer has committed."""
    settings = migrated(fresh_lake.model_copy(update={"batch_events": 100}))
    folder, copy = layout(settings).state / "questdb", tmp_path / "copy"
    send(settings, market("BTC/USD", 300))
    with consuming(settings):
        wait_done(settings)
    servers.kill("questdb")
    shutil.copytree(folder, copy)
    servers.start("questdb")
    send(settings, market("BTC/USD", 400, first=300))
    with consuming(settings):
        wait_done(settings)
    servers.kill("questdb")
    shutil.rmtree(folder)
    shutil.move(copy, folder)
    servers.start("questdb")
    return settings


def _assert_whole(settings: Settings) -> None:
    log = log_of(settings)
    for kind, name in (("trade", "bronze_trades"), ("quote", "bronze_quotes"), ("gap", "bronze_gaps")):
        assert table(settings, name)["seq"].to_list() == log.filter(pl.col("type") == kind)["seq"].to_list()
    assert_same_rows(table(settings, "silver_features"), offline(settings, log))


def test_what_an_earlier_questdb_lacks_is_read_again(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    assert table(settings, "bronze_quotes")["seq"].max() < 300  # type: ignore[operator]
    send(settings, market("BTC/USD", 100, first=700))
    with consuming(settings) as errors:
        wait_done(settings)
        _caught_up(settings, 800)
    assert not errors
    assert "committed up to 700, but QuestDB holds 300" in caplog.text
    _assert_whole(settings)
    caplog.clear()
    with consuming(settings) as errors:
        wait_done(settings)
    assert not errors
    assert "reading again" not in caplog.text


def test_what_kafka_has_trimmed_meanwhile_is_an_error_with_a_remedy(settings: Settings) -> None:
    part = TopicPartition(EVENTS_TOPIC, partition_of("BTC/USD", settings.kafka_partitions), 350)
    client = kafka.admin(settings)
    for future in client.delete_records([part]).values():
        future.result(20)
    with consuming(settings) as errors:
        eventually(lambda: errors)
    assert isinstance(errors[0], FatalError)
    assert "give up 50 messages" in str(errors[0])
    assert accept_loss(settings)["given_up"]
    with consuming(settings) as errors:
        _caught_up(settings, 700)
    assert not errors
    assert table(settings, "bronze_quotes").filter(pl.col("seq") >= 350).height > 100


def test_an_earlier_questdb_under_a_running_consumer_stops_it(
    fresh_lake: Settings, servers: LocalServers, tmp_path: Path
) -> None:
    settings = migrated(fresh_lake.model_copy(update={"batch_events": 100}))
    folder, copy = layout(settings).state / "questdb", tmp_path / "copy"
    send(settings, market("BTC/USD", 300))
    with consuming(settings) as errors:
        wait_done(settings)
        servers.kill("questdb")
        shutil.copytree(folder, copy)
        servers.start("questdb")
        send(settings, market("BTC/USD", 400, first=300))
        wait_done(settings)
        _caught_up(settings, 700)
        servers.kill("questdb")
        shutil.rmtree(folder)
        shutil.move(copy, folder)
        servers.start("questdb")
        assert not errors
        send(settings, market("BTC/USD", 100, first=700))
        eventually(lambda: errors, 60.0)
    assert "its folder is an earlier copy" in str(errors[0])
    with consuming(settings) as errors:
        _caught_up(settings, 800)
    assert not errors
    _assert_whole(settings)


def _caught_up(settings: Settings, offset: int) -> None:
    """Until QuestDB's own position says so: the commit was there before."""
    questdb = QuestDB(settings)
    eventually(lambda: questdb.rows("SELECT 1 FROM meta_positions WHERE next_seq = %s", (offset,)), 60.0)
    questdb.close()
