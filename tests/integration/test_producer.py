"""The producer against the simulator and a real Kafka: whatever goes wrong, every trade gets there."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from ingestion.kraken.rest_client import PAGE, KrakenRest
from ingestion.kraken.rest_messages import ThrottledError
from ingestion.producer.fill_turns import since_ns
from lakehouse.records import Trade
from lakehouse.settings import Settings
from tests.integration.feeds import SYMBOLS, Feeds, after, feeds, holes_in, trades_of
from tests.integration.lakes import eventually
from tests.support.servers import LocalServers

pytestmark = pytest.mark.timeout(400)
PATIENCE_S = 150.0
BTC, ETH, SOL = SYMBOLS


def complete(feed: Feeds, more_than: int = 0, symbols: tuple[str, ...] = SYMBOLS) -> Callable[[], list[dict[str, Any]]]:
    """All events, once each symbol has so many trades without a hole among their ids; nothing until then."""

    def ask() -> list[dict[str, Any]]:
        events = feed.events()
        ids = [list(trades_of(events, symbol)) for symbol in symbols]
        return events if all(len(one) > more_than and not holes_in(one) for one in ids) else []

    return ask


def gap_reasons(feed: Feeds, symbol: str) -> set[str]:
    return {e["reason"] for e in feed.events() if e["type"] == "gap" and e["symbol"] == symbol}


def truth(feed: Feeds, symbol: str, since: datetime) -> dict[int, Trade]:
    """The exchange's own list of a symbol's trades from a time on."""
    rest = KrakenRest(httpx.Client(base_url=feed.settings.rest_url), 0.0)
    found: dict[int, Trade] = {}
    at = since_ns(since)
    while True:
        try:
            page, _ = rest.trades(symbol, at)
        except ThrottledError:
            time.sleep(2.0)
            continue
        found |= {trade.trade_id: trade for trade in page.trades}
        if len(page.trades) < PAGE or page.last is None:
            return found
        at = page.last


def test_an_acknowledged_stream_that_stays_silent_is_asked_anew(fresh_lake: Settings, tmp_path: Path) -> None:
    faults = [{"kind": "silent", "symbol": ETH, "channel": "trade", "until": 12}]
    with feeds(fresh_lake, tmp_path, faults) as feed:
        feed.processes.start("simulator", "producer")
        eventually(complete(feed, 10, (BTC, SOL)), PATIENCE_S)
        eventually(complete(feed, 10), PATIENCE_S)
        assert feed.metric("ws_reconnects_total") == 0
        assert feed.metric("exchange_status", state="online") == 1


def test_kills_outages_and_a_dead_broker_lose_nothing(
    fresh_lake: Settings, tmp_path: Path, servers: LocalServers
) -> None:
    with feeds(fresh_lake, tmp_path, [{"kind": "outage", "from": 20, "until": 26}]) as feed:
        feed.processes.start("simulator", "producer")
        eventually(complete(feed, 20), PATIENCE_S)
        feed.processes.kill("producer")
        eventually(after(8.0), 30.0)
        feed.processes.start("producer")
        eventually(lambda: "start: over" in gap_reasons(feed, BTC), PATIENCE_S)
        servers.kill("kafka")
        eventually(after(4.0), 30.0)
        servers.start("kafka")
        eventually(after(6.0), 30.0)
        before = len(feed.events())
        feed.processes.kill("simulator")
        feed.processes.start("simulator")
        eventually(lambda: len(feed.events()) > before + 300, PATIENCE_S)
        assert feed.processes.stop("producer") == 0
        feed.processes.start("producer")
        eventually(lambda: feed.metric("producer_trades_total") > 100, PATIENCE_S)
        eventually(complete(feed, 300), PATIENCE_S)
        newest = max(e["ts"] for e in feed.events() if e["type"] == "trade")
        assert datetime.now(UTC) - datetime.fromisoformat(newest) < timedelta(minutes=1)
