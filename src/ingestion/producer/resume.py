"""Reads the end of the live log, so that a producer resumes where the last one ended."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

import orjson
from confluent_kafka import Consumer

from ingestion.completeness.id_gaps import IdFilter, filter_of
from ingestion.kraken.ws_messages import parse_time
from lakehouse.errors import PoisonError
from lakehouse.messages import REPLAY_HEADER
from lakehouse.settings import EVENTS_TOPIC
from lakehouse.stores.kafka_reading import OffsetRange, bounds, messages

# Messages per partition. A symbol further back than the last look, or new, needs no more: the ledger reports its holes,
# and the consumer drops trades that bronze has.
FIRST_LOOK, GROWTH, MAX_LOOK = 20_000, 10, 200_000


@dataclass(slots=True)
class LogTail:
    """The newest part of the log for one symbol.

    Trades from REST are kept apart: their ids may lie far below the others, and the ids between were sent earlier. So
    are replayed dead letters, which may have any age and ids typed by a person.
    """

    live: dict[int, datetime] = field(default_factory=dict)
    refilled: dict[int, datetime] = field(default_factory=dict)
    replayed: dict[int, datetime] = field(default_factory=dict)
    last_quote: datetime | None = None

    def take(self, event: dict[str, object], replayed: bool = False) -> None:
        """Adds one event of the log; ``replayed`` says that it was a dead letter."""
        ts = parse_time(str(event["ts"]))
        if event["type"] == "trade":
            sent = self.refilled if event.get("source") == "rest" else self.live
            ids = self.replayed if replayed else sent
            ids[int(str(event["trade_id"]))] = ts
        elif event["type"] == "quote" and not replayed:
            self.last_quote = ts

    def filter(self, now: float) -> IdFilter:
        """The trade ids in this part of the log, from the first live one on."""
        floor = min(self.live, default=None)
        above = {i: ts for i, ts in self.refilled.items() if floor is None or i >= floor}
        sent = above | self.live
        low, high = min(sent, default=0), max(sent, default=0)
        between = {i: ts for i, ts in self.replayed.items() if low <= i <= high and sent}
        return filter_of((between | sent).items(), now)


def read_tail(consumer: Consumer, symbols: Iterable[str]) -> dict[str, LogTail]:
    """Reads back from the end of the log until every symbol is found or a limit is reached.

    Returns:
        The tail per symbol found; a symbol without events is missing.

    Raises:
        RetryableError: Kafka is down.
    """
    wanted = set(symbols)
    depth = FIRST_LOOK
    while True:
        held = bounds(consumer, EVENTS_TOPIC)
        wide = {p: OffsetRange(max(span.start, span.end - depth), span.end) for p, span in held.items()}
        tails: dict[str, LogTail] = {}
        for message in messages(consumer, EVENTS_TOPIC, wide):
            _take(tails, message.value() or b"", REPLAY_HEADER in (message.headers() or ()))
        found = {symbol: tail for symbol, tail in tails.items() if symbol in wanted}
        if all(symbol in found and found[symbol].live for symbol in wanted) or depth >= MAX_LOOK or wide == held:
            return found
        depth *= GROWTH


def _take(tails: dict[str, LogTail], value: bytes, replayed: bool) -> None:
    """Adds values to the tails; skips those that do not parse, which the consumer sets aside."""
    try:
        event = orjson.loads(value)
        tails.setdefault(str(event["symbol"]), LogTail()).take(event, replayed)
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, PoisonError):
        return
