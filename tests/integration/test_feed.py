"""The live feed against a simulated Kraken: each end of a connection has its name, and blinds us until it is over."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest

from ingestion.completeness.id_gaps import IdFilter
from ingestion.kraken.ws_client import Backoff
from ingestion.producer import live_feed as feed_module
from ingestion.producer import metrics
from ingestion.producer.deduplicator import Deduplicator
from ingestion.producer.live_feed import LiveFeed
from ingestion.simulator.faults import Fault
from ingestion.simulator.market import Market
from lakehouse.stores.kafka import KafkaHeaders
from tests.integration.feeds import after
from tests.integration.lakes import eventually
from tests.integration.test_simulator import GENESIS, SYMBOLS, exchange
from tests.support.recorder import Recorder

# Quiet enough that the seconds which the clock jumps over come through at once.
MARKET = Market(seed=42, events_per_s=20, genesis=GENESIS)


class Impatient(Backoff):
    """Waits half a second, whatever happened."""

    PATIENT_S, STABLE_S = 0.0, 0.0


class Congested(Recorder):
    """Takes nothing while ``free`` is not set, as Kafka when its queue is full: the feed falls behind."""

    def __init__(self) -> None:
        super().__init__()
        self.free = threading.Event()
        self.free.set()

    def send(self, topic: str, key: str, value: bytes, headers: KafkaHeaders = ()) -> None:
        self.free.wait()
        super().send(topic, key, value, headers)


@contextmanager
def following(port: int, publisher: Recorder | None = None) -> Iterator[Recorder]:
    """A feed of all symbols in a thread; what it sends."""
    publisher, stop = publisher or Recorder(), threading.Event()
    sink = Deduplicator(publisher, {symbol: IdFilter() for symbol in SYMBOLS}, timedelta(seconds=5))
    feed = LiveFeed(f"ws://127.0.0.1:{port}/v2", SYMBOLS, "ws", sink, publisher, Impatient())
    thread = threading.Thread(target=feed.run, args=(stop,))
    thread.start()
    try:
        yield publisher
    finally:
        stop.set()
        thread.join(10)
        assert not thread.is_alive()


def seen(publisher: Recorder, symbol: str, kind: str, reason: str | None = None) -> int:
    """How many events of a kind there are."""
    return sum((e["type"], e["symbol"], e.get("reason")) == (kind, symbol, reason) for e in list(publisher.events))


def lost(reason: str) -> float:
    """How many connections were lost for that reason."""
    value: float = metrics.RECONNECTS.labels(reason)._value.get()
    return value


def state(symbol: str, stream: str) -> float:
    """Where a subscription stands."""
    value: float = metrics.SUBSCRIPTIONS.labels(symbol, stream)._value.get()
    return value


# Each fault waits at its place on the simulator's clock, which the test moves on once the one before is over.
ENDS = (
    ("closed_1001", Fault("close", start=20, code=1001)),
    ("closed_1012", Fault("close", start=40, code=1012)),
    ("closed_1013", Fault("close", start=60, code=1013)),
    ("reset", Fault("reset", start=80)),
    ("frozen", Fault("freeze", start=100, stop=10_000)),
)


def test_each_end_of_a_connection_is_named_and_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed_module, "FROZEN_S", 2.0)
    before = {reason: lost(reason) for reason, _ in ENDS}
    with exchange(*(fault for _, fault in ENDS), ledger=MARKET) as running, following(running.port) as publisher:
        elapsed = 0.0
        for reason, fault in ENDS:
            eventually(lambda: all(state(s, "ticker") == state(s, "trade") == 3 for s in SYMBOLS))
            running.clock.jump(fault.start - elapsed)
            elapsed = fault.start
            eventually(lambda reason=reason: all(seen(publisher, s, "gap", f"{reason}: over") for s in SYMBOLS))  # type: ignore[misc]
            assert lost(reason) == before[reason] + 1
        for symbol in SYMBOLS:
            marks = [e["reason"] for e in publisher.events if e["type"] == "gap" and e["symbol"] == symbol]
            assert marks == [mark for reason, _ in ENDS for mark in (reason, f"{reason}: over")]


def test_a_freeze_that_a_backlog_hides_is_marked() -> None:
    before = {reason: lost(reason) for reason in ("frozen", "reset")}
    publisher, fault = Congested(), Fault("freeze", start=5, stop=18)
    with exchange(fault, ledger=MARKET) as running, following(running.port, publisher):
        eventually(lambda: all(state(s, "ticker") == state(s, "trade") == 3 for s in SYMBOLS))
        publisher.free.clear()
        running.clock.jump(5)
        eventually(after(0.5))
        running.clock.jump(13)
        eventually(after(2.0))
        publisher.free.set()
        eventually(lambda: all(seen(publisher, s, "gap", "skipped: over") for s in SYMBOLS))
        assert [seen(publisher, s, "gap", "skipped") for s in SYMBOLS] == [1, 1, 1]
        assert {reason: lost(reason) for reason in before} == before


def test_refused_handshakes_are_tried_again_until_one_is_taken() -> None:
    before = lost("handshake_503")
    with exchange(Fault("refuse_handshake", stop=20), ledger=MARKET) as running, following(running.port) as publisher:
        eventually(lambda: lost("handshake_503") > before + 1)
        assert publisher.events == []
        running.clock.jump(21)
        eventually(lambda: all(seen(publisher, symbol, "quote") for symbol in SYMBOLS))


def test_a_refused_symbol_harms_no_other() -> None:
    with (
        exchange(Fault("refuse_subscription", symbol="SOL/USD"), ledger=MARKET) as running,
        following(running.port) as publisher,
    ):
        eventually(lambda: state("SOL/USD", "trade") == state("SOL/USD", "ticker") == -1)
        quotes = seen(publisher, "BTC/USD", "quote")
        eventually(lambda: seen(publisher, "BTC/USD", "quote") > quotes + 20)
        assert state("BTC/USD", "trade") == 3
        assert {e["symbol"] for e in publisher.events} == {"BTC/USD", "ETH/USD"}


def test_maintenance_is_told_and_blinds_until_it_is_over() -> None:
    with (
        exchange(Fault("maintenance", start=20, stop=40), ledger=MARKET) as running,
        following(running.port) as publisher,
    ):
        eventually(lambda: all(seen(publisher, symbol, "quote") for symbol in SYMBOLS))
        running.clock.jump(20)
        eventually(lambda: metrics.STATUS.labels("maintenance")._value.get() == 1)
        running.clock.jump(20)
        eventually(lambda: all(seen(publisher, s, "gap", "maintenance: over") for s in SYMBOLS))
        assert metrics.STATUS.labels("online")._value.get() == 1
