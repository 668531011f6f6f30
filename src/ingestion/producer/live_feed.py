"""Runs the live feed: connects, subscribes, checks that every stream delivers, and reconnects."""

import logging
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from queue import Empty, SimpleQueue
from typing import Any

import orjson

from ingestion.kafka_log.publisher import Publisher
from ingestion.kraken.subscriptions import SubscriptionRequest, Subscriptions
from ingestion.kraken.ws_client import Backoff, DisconnectedError, WebSocketClient
from ingestion.kraken.ws_messages import (
    Ack,
    BareError,
    Heartbeat,
    ParsedFrame,
    Pong,
    QuoteFrame,
    Rejection,
    Status,
    TradeFrame,
    parse_frame,
    parse_quote,
    parse_trade,
    ping,
    subscribe,
)
from ingestion.producer import metrics
from ingestion.producer.deduplicator import Deduplicator
from ingestion.producer.silence import FeedClock
from lakehouse.errors import PoisonError
from lakehouse.records import Quote, Source, Trade

log = logging.getLogger(__name__)

FROZEN_S = 10.0
# Heartbeats start with the first subscription. In maintenance there is none, so only pongs show a live connection.
PING_S = 4.0
TICK_S = 0.25
STATES = ("online", "maintenance", "cancel_only", "post_only", "other")


class LiveFeed:
    """Feeds live events of some symbols to a deduplicator; call `run` in one thread, `doubt` from any."""

    def __init__(
        self,
        url: str,
        symbols: Sequence[str],
        source: Source,
        sink: Deduplicator,
        publisher: Publisher,
        backoff: Backoff | None = None,
    ) -> None:
        self._url = url
        self._symbols = frozenset(symbols)
        self._source: Source = source
        self._sink = sink
        self._publisher = publisher
        self._backoff = backoff or Backoff()
        self._subscriptions = Subscriptions(symbols)
        self._clock = FeedClock()
        self._system: str | None = None
        self._doubts: SimpleQueue[str] = SimpleQueue()

    def run(self, stop: threading.Event) -> None:
        """Feeds the deduplicator until ``stop`` is set.

        Raises:
            LakeError: Kafka refused a message.
        """
        patient = False
        while not stop.wait(self._backoff.next_pause(time.monotonic(), patient)):
            began = time.monotonic()
            try:
                self._connect_and_follow(stop)
            except DisconnectedError as error:
                patient = error.patient
                self._backoff.lasted(time.monotonic() - began)
                self._lost(error)

    def doubt(self, symbol: str) -> None:
        """Requests a symbol's trade stream again, because it missed trades that REST has."""
        self._doubts.put(symbol)

    def _connect_and_follow(self, stop: threading.Event) -> None:
        connection = WebSocketClient(self._url)
        try:
            self._system = None
            self._subscriptions.opened()
            self._clock.opened()
            metrics.CONNECTED.set(1)
            log.info("connected to %s", self._url)
            self._follow(connection, stop)
        finally:
            connection.close()
            metrics.CONNECTED.set(0)

    def _follow(self, connection: WebSocketClient, stop: threading.Event) -> None:
        last_frame = last_ping = time.monotonic()
        next_tick = 0.0
        while not stop.is_set():
            frame = connection.receive(TICK_S)
            if frame is not None:
                self.take(frame)
                # Measured after handling: time spent waiting for Kafka is not silence of the exchange.
                last_frame = time.monotonic()
            now = time.monotonic()
            if now - last_frame > FROZEN_S:
                raise DisconnectedError("frozen", f"no frame for {FROZEN_S:g} s")
            if now >= next_tick:
                next_tick = now + TICK_S
                if now - last_ping > PING_S:
                    connection.send(ping(int(now)))
                    last_ping = now
                self._tend(connection, now)

    def _tend(self, connection: WebSocketClient, now: float) -> None:
        """Runs four times a second: sends due requests, handles doubts and Kafka's acknowledgements, sets metrics."""
        self._publisher.poll()
        if self._system in (None, "maintenance"):
            self._subscriptions.rest(now)
        else:
            self._drain_doubts()
            for request in self._subscriptions.due(now):
                self._request(connection, request)
            if (key := self._subscriptions.hopeless()) is not None:
                raise DisconnectedError("silent", f"{key[1]} of {key[0]} was requested but delivers nothing")
        for (symbol, stream), phase in self._subscriptions.phases().items():
            metrics.SUBSCRIPTIONS.labels(symbol, stream).set(phase)

    def _drain_doubts(self) -> None:
        try:
            while True:
                self._subscriptions.resubscribe(self._doubts.get_nowait(), "trade")
        except Empty:
            pass

    def _request(self, connection: WebSocketClient, request: SubscriptionRequest) -> None:
        if request.method == "unsubscribe":
            log.warning("%s of %s is silent: subscribing again", request.stream, ", ".join(request.symbols))
            if request.stream == "ticker":
                for symbol in request.symbols:
                    self._sink.doubt_quotes(symbol)
        connection.send(subscribe(request.stream, request.symbols, request.req_id, request.method))

    def take(self, text: str | bytes) -> None:
        """Handles one raw frame; items that do not parse become dead letters, the others are kept."""
        received_at = datetime.now(UTC)
        metrics.LAST_FRAME.set(received_at.timestamp())
        try:
            frame = parse_frame(text, received_at, self._source)
        except PoisonError as error:
            self._salvage(text, received_at, error)
            return
        self.handle(frame)

    def handle(self, frame: ParsedFrame) -> None:
        """Handles one parsed frame."""
        now = time.monotonic()
        self._watch_silence(frame)
        match frame:
            case TradeFrame(trades, snapshot):
                for trade in trades:
                    self._trade(trade, snapshot, now)
                if snapshot and not trades:
                    self._subscriptions.empty_snapshot("trade", now)
            case QuoteFrame(quotes, snapshot):
                for quote in quotes:
                    self._quote(quote, snapshot, now)
            case Status(system):
                self._set_system(system)
                if system == "maintenance":
                    self._clock.opened()
                    self._sink.lose_quotes(self._symbols, system)
                self._subscriptions.rest(now)
            case Ack(method, channel, symbol):
                self._subscriptions.acked(method, channel, symbol, now)
            case Rejection(method, error, symbol, req_id):
                lost = self._subscriptions.refused(req_id, symbol, error, now)
                log.warning("refused: %s of %s: %s", method, symbol or "all its symbols", error)
                self._sink.lose_quotes((s for s, stream in lost if stream == "ticker"), "refused")
            case BareError(error):
                log.warning("the exchange reports an error: %s", error)

    def _watch_silence(self, frame: ParsedFrame) -> None:
        """Marks the quotes lost where the exchange's time moved on without the frames that belong to it."""
        skipped: timedelta | None = None
        match frame:
            case Heartbeat():
                self._clock.heartbeat()
            case Pong(_, at) if at is not None:
                skipped = self._clock.pong(at)
            # A snapshot tells of times long past.
            case TradeFrame(events, False) | QuoteFrame(events, False):
                for event in events:
                    if not self._sink.is_ahead(event):
                        skipped = self._clock.data(event.ts) or skipped
        if skipped is not None:
            log.warning("the feed's own time skipped %.1f s: quotes of that span never came", skipped.total_seconds())
            self._sink.lose_quotes(self._symbols, "skipped")

    def _trade(self, trade: Trade, snapshot: bool, now: float) -> None:
        if trade.symbol in self._symbols:
            self._subscriptions.delivered(trade.symbol, "trade", snapshot, now)
            self._sink.trade(trade)

    def _quote(self, quote: Quote, snapshot: bool, now: float) -> None:
        if quote.symbol in self._symbols:
            self._subscriptions.delivered(quote.symbol, "ticker", snapshot, now)
            self._sink.quote(quote)

    def _salvage(self, text: str | bytes, received_at: datetime, error: PoisonError) -> None:
        """Keeps the valid items of a frame that does not parse as a whole; the others become dead letters.

        An unreadable quote opens a gap, and so does a frame that is not JSON, since it may have been a quote.
        """
        payload = text if isinstance(text, bytes) else text.encode()
        log.warning("a frame does not parse: %s", error)
        channel: Any = "ticker"
        try:
            frame = orjson.loads(payload)
            channel = frame.get("channel") if isinstance(frame, dict) else None
            items, parse = frame["data"], {"trade": parse_trade, "ticker": parse_quote}[channel]
            snapshot = frame.get("type") == "snapshot"
            if not items or not isinstance(items, list):
                raise ValueError(items)
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError):
            self._sink.dead_letter(payload, error.reason, "ws", str(error))
            if channel == "ticker":
                self._sink.lose_quotes(self._symbols, "unparsable")
            return
        now = time.monotonic()
        for item in items:
            try:
                event = parse(item, received_at, self._source)
            except (PoisonError, AttributeError) as why:
                reason = why.reason if isinstance(why, PoisonError) else error.reason
                one = orjson.dumps({**frame, "data": [item]})
                self._sink.dead_letter(one, reason, "ws", str(why))
                if channel == "ticker":
                    self._sink.lose_quotes(self._named_in(item), "unparsable")
                continue
            if isinstance(event, Trade):
                self._trade(event, snapshot, now)
            elif isinstance(event, Quote):
                self._quote(event, snapshot, now)

    def _named_in(self, item: object) -> frozenset[str]:
        """The symbol that a broken item names; all symbols if that cannot be read either."""
        symbol = item.get("symbol") if isinstance(item, dict) else None
        return frozenset((symbol,)) if isinstance(symbol, str) and symbol in self._symbols else self._symbols

    def _set_system(self, system: str) -> None:
        if system != self._system:
            log.info("the exchange is %s", system)
        self._system = system
        for state in STATES:
            metrics.STATUS.labels(state).set(state == (system if system in STATES else "other"))

    def _lost(self, error: DisconnectedError) -> None:
        metrics.RECONNECTS.labels(error.reason).inc()
        log.warning("disconnected: %s", error)
        self._sink.lose_quotes(self._symbols, error.reason)
