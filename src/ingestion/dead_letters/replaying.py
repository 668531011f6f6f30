"""Replays dead letters that have become acceptable.

A letter is replayed at most once: a receipt in the same topic marks it. Its payload is an event of ours, a frame of
Kraken's WebSocket or a row of its REST API. Each is parsed with current code and settings, so a fixed parser, a longer
`FUTURE_TOLERANCE_S` or a corrected clock makes it acceptable.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from confluent_kafka import Producer

from ingestion.dead_letters.listing import RECEIPT, Letter
from ingestion.dead_letters.parsing import events_in
from lakehouse.errors import PoisonError, RetryableError
from lakehouse.messages import REPLAY_HEADER, SCHEMA_HEADER
from lakehouse.records import Source
from lakehouse.settings import DEADLETTER_TOPIC, Settings
from lakehouse.stores import kafka

TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class ReplayedLetter:
    """What became of a letter: the events sent, or, where ``kept``, why it stays."""

    number: int
    kept: bool
    detail: str


def replay(producer: Producer, letter: Letter, future_tolerance_s: float, now: datetime, live: Source) -> int:
    """Sends the letter's events to their topic, then marks the letter as replayed; returns the number of events.

    A kill between the two steps lets the same letter be sent twice: the consumer drops the repeated trade but would
    store a quote twice.

    Args:
        live: the ``source`` of this lake's live events.

    Raises:
        PoisonError: it is still not acceptable. RetryableError: Kafka is down.
    """
    events = events_in(letter.payload, letter.symbol, letter.at, now, future_tolerance_s, live)
    for symbol, value in events:
        producer.produce(letter.topic, value, symbol, headers=[SCHEMA_HEADER, REPLAY_HEADER])
    _flush(producer)
    producer.produce(DEADLETTER_TOPIC, b"", headers=[SCHEMA_HEADER, (RECEIPT, str(letter.number).encode())])
    _flush(producer)
    return len(events)


def replay_all(settings: Settings, letters: Sequence[Letter], payload: bytes | None = None) -> list[ReplayedLetter]:
    """Replays each letter, with ``payload`` instead of its own if given; one that cannot be accepted is kept.

    Raises:
        RetryableError: Kafka is down.
    """
    producer = kafka.producer(settings)
    return [_replayed(settings, producer, letter, payload) for letter in letters]


def _replayed(settings: Settings, producer: Producer, letter: Letter, payload: bytes | None) -> ReplayedLetter:
    if letter.replayed:
        return ReplayedLetter(letter.number, True, "it was sent before")
    mended = letter if payload is None else replace(letter, payload=payload)
    try:
        count = replay(producer, mended, settings.future_tolerance_s, datetime.now(UTC), settings.trade_source)
    except PoisonError as error:
        return ReplayedLetter(letter.number, True, str(error))
    return ReplayedLetter(letter.number, False, f"sent {count} events to {letter.topic}")


def _flush(producer: Producer) -> None:
    if producer.flush(TIMEOUT_S):
        raise RetryableError(f"Kafka did not acknowledge within {TIMEOUT_S:g} s")
