"""Publishes each live trade once, quotes with their gap markers, and rejected events as dead letters."""

import dataclasses
import logging
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta

from ingestion.completeness.id_gaps import Hole, IdFilter
from ingestion.kafka_log.publisher import Publisher
from ingestion.producer import metrics
from lakehouse.errors import FatalError
from lakehouse.messages import encode
from lakehouse.records import Event, Gap, Quote, Trade
from lakehouse.settings import EVENTS_TOPIC

log = logging.getLogger(__name__)
# So many in a row, none above the top between them, are no trades that overtook each other.
MAX_RESTARTED = 20


class Deduplicator:
    """Filters and publishes live events; shared by the WebSocket thread and the gap-filling thread.

    Args:
        publisher: sends to Kafka.
        filters: per symbol, the trade ids already in Kafka.
        future_tolerance: an event stamped further ahead of our clock is dead-lettered.
    """

    def __init__(self, publisher: Publisher, filters: Mapping[str, IdFilter], future_tolerance: timedelta) -> None:
        self._publisher = publisher
        self._filters = dict(filters)
        self._tolerance = future_tolerance
        self._quotes: dict[str, Quote] = {}
        self._lost: dict[str, str] = {}
        self._doubted: set[str] = set()
        # Per symbol, the ids below the top that came with newer times since the top last moved.
        self._restarted: dict[str, set[int]] = defaultdict(set)
        # Checking an id and sending its trade is one step; otherwise two threads could both find it new.
        self._lock = threading.RLock()
        for symbol in filters:
            # Exported as 0 from the start: an increase of a series that has just appeared is invisible.
            metrics.BELOW_TOP.labels(symbol)

    def trade(self, trade: Trade) -> bool:
        """Sends a trade unless its id was seen; returns whether it was sent.

        Raises:
            FatalError: the exchange numbers its trades anew: each would be dropped as a duplicate.
        """
        with self._lock:
            if self._from_future(trade):
                return False
            seen = self._filters[trade.symbol]
            if not seen.offer(trade.trade_id, trade.ts, time.monotonic()):
                metrics.DUPLICATES.labels(trade.symbol).inc()
                if seen.top_ts is not None and trade.ts > seen.top_ts:
                    metrics.BELOW_TOP.labels(trade.symbol).inc()
                    self._note_restart(trade, seen.top)
                return False
            metrics.TRADES.labels(trade.symbol, trade.source).inc()
            metrics.HOLES.labels(trade.symbol).set(seen.missing)
            self._restarted[trade.symbol].clear()
            self._send(trade)
            return True

    def refill(self, trade: Trade, audited: Hole | None = None) -> bool:
        """Sends a trade from REST if its id is missing; returns whether it was sent.

        REST's times are about a microsecond late, so a trade never gets a later time than the next known one.

        Args:
            audited: a hole below this process' first id, which the ledger reported.
        """
        with self._lock:
            seen = self._filters[trade.symbol]
            hole = seen.hole_at(trade.trade_id)
            if hole is None and audited is not None and audited.first <= trade.trade_id <= audited.last:
                hole = audited
            if hole is not None:
                trade = dataclasses.replace(trade, ts=min(trade.ts, hole.before))
            if hole is audited and audited is not None:
                return not self._from_future(trade) and self._send_audited(trade)
            beyond = seen.top is not None and trade.trade_id > seen.top
            return (hole is not None or beyond) and self.trade(trade)

    def quote(self, quote: Quote) -> None:
        """Sends a quote, preceded by the end of an open gap; drops a repeat; a quote from the future opens a gap."""
        with self._lock:
            if self._from_future(quote):
                self.lose_quotes((quote.symbol,), "future")
                return
            last = self._quotes.get(quote.symbol)
            if quote.symbol in self._doubted:
                self._doubted.discard(quote.symbol)
                if last is not None and _prices(last) != _prices(quote):
                    self._lose(quote.symbol, "silent")
            if (reason := self._lost.pop(quote.symbol, None)) is not None:
                self._send(Gap(quote.symbol, "ticker", quote.ts, quote.received_at, f"{reason}: over"))
            elif last is not None and dataclasses.replace(quote, received_at=last.received_at) == last:
                return
            self._quotes[quote.symbol] = quote
            metrics.QUOTES.labels(quote.symbol).inc()
            self._send(quote)

    def lose_quotes(self, symbols: Iterable[str], reason: str) -> None:
        """Marks the start of a quote outage: a gap event with the last quote's time; another follows at its end."""
        with self._lock:
            for symbol in symbols:
                if symbol in self._quotes and symbol not in self._lost:
                    self._lose(symbol, reason)

    def resume_after(self, last_quotes: Mapping[str, datetime | None]) -> None:
        """Marks the time since an earlier process ended as a gap.

        Args:
            last_quotes: per symbol, the time of the last quote in Kafka; None if it is too far back to be found.
        """
        with self._lock:
            for symbol, ts in last_quotes.items():
                self._lost[symbol] = "start"
                metrics.GAPS.labels(symbol, "start").inc()
                if ts is not None:
                    self._send(Gap(symbol, "ticker", ts, datetime.now(UTC), "start"))

    def doubt_quotes(self, symbol: str) -> None:
        """Notes that a silent stream was renewed: a quote was missed only if the next one differs from the last."""
        with self._lock:
            self._doubted.add(symbol)

    def holes(self, symbol: str, noticed_before: float) -> tuple[Hole, ...]:
        """The holes detected before a moment of the monotonic clock."""
        with self._lock:
            return tuple(hole for hole in self._filters[symbol].holes if hole.noticed <= noticed_before)

    def newest(self, symbol: str) -> tuple[int, datetime] | None:
        """The newest trade's id and time."""
        with self._lock:
            seen = self._filters[symbol]
            return None if seen.top is None or seen.top_ts is None else (seen.top, seen.top_ts)

    def floor(self, symbol: str) -> int | None:
        """The lowest id that this process tracks."""
        with self._lock:
            return self._filters[symbol].floor

    def give_up(self, symbol: str, first: int, last: int) -> None:
        """Gives up on ids that the exchange does not have."""
        with self._lock:
            count = self._filters[symbol].give_up(first, last)
            metrics.ABSENT.labels(symbol).inc(count)
            metrics.HOLES.labels(symbol).set(self._filters[symbol].missing)
        log.warning("%s: the exchange has no trades %d..%d either: giving up on them", symbol, first, last)

    def dead_letter(self, payload: bytes, reason: str, origin: str, detail: str, symbol: str = "") -> None:
        """Sends a payload to the dead-letter topic."""
        self._publisher.dead_letter(payload, reason, origin, detail, symbol=symbol)

    def _lose(self, symbol: str, reason: str) -> None:
        self._lost[symbol] = reason
        metrics.GAPS.labels(symbol, reason).inc()
        self._send(Gap(symbol, "ticker", self._quotes[symbol].ts, datetime.now(UTC), reason))

    def _note_restart(self, trade: Trade, top: int | None) -> None:
        ids = self._restarted[trade.symbol]
        ids.add(trade.trade_id)
        if len(ids) >= MAX_RESTARTED:
            raise FatalError(
                f"{trade.symbol}: {len(ids)} trades in a row are newer than trade {top} but have lower ids, the last "
                f"{trade.trade_id}: the exchange numbers its trades anew, or this is another market, and each would be "
                "dropped as a duplicate; keep this lake as it is and start a new one: tradelake down, set VAR_DIR to "
                "another folder in .env, tradelake up"
            )

    def _send_audited(self, trade: Trade) -> bool:
        metrics.TRADES.labels(trade.symbol, trade.source).inc()
        self._send(trade)
        return True

    def is_ahead(self, event: Trade | Quote) -> bool:
        """Whether an event is stamped so far ahead of our clock that its time cannot be true."""
        return event.ts - event.received_at > self._tolerance

    def _from_future(self, event: Trade | Quote) -> bool:
        if not self.is_ahead(event):
            return False
        ahead = event.ts - event.received_at
        origin = "rest" if event.source == "rest" else "ws"
        detail = f"stamped {ahead.total_seconds():.3f} s ahead of our clock; if all are, set this machine's clock"
        self.dead_letter(encode(event), "future", origin, detail, event.symbol)
        return True

    def _send(self, event: Event) -> None:
        self._publisher.send(EVENTS_TOPIC, event.symbol, encode(event))


def _prices(quote: Quote) -> tuple[float, float, float, float]:
    return quote.bid, quote.bid_qty, quote.ask, quote.ask_qty
