"""Several consumers in one group: they share the symbols and hand them over without a seam and without a double."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from lakehouse.settings import Settings
from lakehouse.stores import kafka
from stack.envfile import child_environment
from stack.local import free_ports
from tests.integration.consuming import assert_same_rows, log_of, market, migrated, offline, send, table, wait_done
from tests.integration.lakes import eventually

SYMBOLS = ("BTC/USD", "ETH/USD", "SOL/USD", "XRP/USD", "ADA/USD", "DOT/USD")


@pytest.fixture
def settings(fresh_lake: Settings) -> Settings:
    """A lake with tables and topics, small batches."""
    return migrated(fresh_lake.model_copy(update={"batch_events": 200}))


@contextmanager
def member(settings: Settings) -> Iterator[subprocess.Popen[bytes]]:
    """A consumer as a process of its own; stopped at the end if it still runs."""
    mine = settings.model_copy(update={"consumer_metrics_port": free_ports(1)[0]})
    child = subprocess.Popen([sys.executable, "-m", "ingestion.consumer"], env=child_environment(mine))
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
