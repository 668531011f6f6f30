"""The running exchange: reads market events as time passes, sends them to clients, starts and ends faults."""

import asyncio
import logging
import math
import threading
from collections.abc import Callable, Iterable

from ingestion.simulator import protocol, wire
from ingestion.simulator.blocks import Ledger, last_quote, last_trades
from ingestion.simulator.connection import ClientConnection
from ingestion.simulator.cursor import MarketCursor, NewEvents
from ingestion.simulator.faults import Fault, Faults, Script
from ingestion.simulator.metrics import FAULTS, FRAMES
from ingestion.simulator.wire import Frame

log = logging.getLogger(__name__)
SNAPSHOT_TRADES = 50
_STEP_S = 0.01  # events within one step are sent together
_MAX_STEP_S = 0.1
_IDLE_S = 60.0
_STALLED_US = 30_000_000


class Exchange:
    """Distributes market events to connections; single-threaded, within one event loop.

    Args:
        ledger: the market's events.
        script: the faults to inject.
        now_us: the clock, µs since 1970.
    """

    def __init__(self, ledger: Ledger, script: Script, now_us: Callable[[], int]) -> None:
        self.ledger, self.now_us = ledger, now_us
        self._started_us = now_us()
        self.faults = Faults(script, self.clock, lambda kind: FAULTS.labels(kind).inc())
        self.connections: set[ClientConnection] = set()
        self.system = "online"
        self._tapes: dict[str, MarketCursor] = {}

    def clock(self) -> float:
        """Seconds since the start, which fault scripts count from."""
        return (self.now_us() - self._started_us) / 1e6

    async def run(self, stop: threading.Event) -> None:
        """Sends market events until ``stop`` is set."""
        before = -1.0
        while not stop.is_set():
            now = self.clock()
            for fault in self.faults.beginning(before, now):
                self._begin(fault)
            self._set_system("maintenance" if self.faults.active("maintenance") else "online")
            self._publish()
            if int(now) > int(before):
                self._beat(now)
            before = now
            await asyncio.sleep(self._pause())

    def _pause(self) -> float:
        """Seconds until the next event, within limits."""
        due = min((tape.next_us() for tape in self._tapes.values()), default=math.inf)
        return min(_MAX_STEP_S, max(_STEP_S, (due - self.now_us()) / 1e6))

    def _beat(self, now: float) -> None:
        """Runs once a second: sends heartbeats regardless of traffic, and disconnects idle clients."""
        for connection in list(self.connections):
            if connection.greeted:
                FRAMES.labels("heartbeat").inc(connection.reply(wire.HEARTBEAT))
            if not connection.subscriptions and now - connection.heard_at > _IDLE_S:
                connection.close(1000, "idle")

    def snapshot(self, channel: str, symbol: str, trigger: str) -> Frame:
        """The state of a stream at the cursor, so that updates follow it without hole or overlap."""
        pair = self.ledger.pairs[symbol]
        tape = self._tapes.setdefault(symbol, MarketCursor(self.ledger, symbol, self.now_us()))
        if channel == "trade":
            trades = last_trades(self.ledger, symbol, tape.cursor_us, SNAPSHOT_TRADES)
            items = wire.trade_items(pair, trades.where(self.faults.kept(symbol, trades.trade_id)))
        else:
            items = wire.quote_items(pair, last_quote(self.ledger, symbol, tape.cursor_us))
        return Frame(channel, symbol, trigger, tuple(items), "snapshot")

    def _publish(self) -> None:
        now = self.now_us()
        frames: list[tuple[int, Frame]] = []
        for symbol, tape in self._tapes.items():
            if now - tape.cursor_us > _STALLED_US:
                log.warning("the clock jumped by %.0f s: resetting connections", (now - tape.cursor_us) / 1e6)
                self._reset(self.connections)
                tape.seek(now)
            elif now > tape.cursor_us:
                frames += self._frames(symbol, tape.advance(now))
        if self.system == "online":
            frames.sort(key=lambda timed: timed[0])
            for connection in list(self.connections):
                wanted = [frame for _, frame in frames if connection.wants(frame)]
                FRAMES.labels("data").inc(connection.push(wanted))

    def _frames(self, symbol: str, news: NewEvents) -> list[tuple[int, Frame]]:
        """The new events as frames, for streams that have subscribers."""
        wanted = {
            (ch, trigger) for c in self.connections for (ch, s), trigger in c.subscriptions.items() if s == symbol
        }
        pair = self.ledger.pairs[symbol]
        frames: list[tuple[int, Frame]] = []
        if ("ticker", "bbo") in wanted:
            frames += wire.bbo_frames(pair, news.quotes)
        if ("trade", "") in wanted:
            frames += wire.trade_frames(pair, news.trades.where(self.faults.kept(symbol, news.trades.trade_id)))
        if ("ticker", "trades") in wanted:
            frames += wire.on_trade_frames(pair, news.trades, news.force)
        return frames

    def _set_system(self, system: str) -> None:
        if system != self.system:
            log.info("the exchange is now in state %s", system)
            self.system = system
            for connection in list(self.connections):
                FRAMES.labels("status").inc(connection.reply(protocol.status(system, connection.id)))

    def _begin(self, fault: Fault) -> None:
        """Applies the immediate effect of a fault; lasting ones are checked where they apply."""
        now = self.clock()
        match fault.kind:
            case "freeze":
                for connection in self._hit(fault):
                    connection.freeze(fault, now + fault.stop - fault.start)
            case "close":
                for connection in self._hit(fault):
                    connection.close(fault.code, fault.reason)
            case "reset" | "outage":
                self._reset(self._hit(fault))
            case "maintenance":
                self.faults.hit(fault)

    def _hit(self, fault: Fault) -> list[ClientConnection]:
        hit = [connection for connection in self.connections if self.faults.hit(fault)]
        log.info("fault %s hits %d of %d connections", fault.kind, len(hit), len(self.connections))
        return hit

    def _reset(self, connections: Iterable[ClientConnection]) -> None:
        for connection in list(connections):
            connection.reset()
