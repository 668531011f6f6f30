"""Lists the dead-letter topic with reason and origin, and replays letters that have become acceptable.

A letter is replayed at most once: a receipt in the same topic marks it. Its payload is an event of ours, a frame of
Kraken's WebSocket or a row of its REST API. Each is parsed with current code and settings, so a fixed parser, a longer
`FUTURE_TOLERANCE_S` or a corrected clock makes it acceptable. For anything else, pass the event with ``--payload``.
"""

import argparse
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from confluent_kafka import Consumer, Producer

from ingestion.dead_letters.parsing import events_in
from lakehouse.errors import LakeError, PoisonError, RetryableError
from lakehouse.messages import REPLAY_HEADER, SCHEMA_HEADER
from lakehouse.process import set_up_logging
from lakehouse.records import Source
from lakehouse.settings import DEADLETTER_TOPIC, EVENTS_TOPIC, Settings, load_settings
from lakehouse.stores import kafka
from lakehouse.stores.kafka_reading import bounds, messages

TIMEOUT_S = 30.0
_RECEIPT = "replayed"


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter; ``number`` identifies it.

    Attributes:
        at: when it was set aside.
        origin: where it came from: ``ws``, ``rest``, ``file:NAME:LINE`` or ``TOPIC/PARTITION@OFFSET``.
        topic: where it was going.
        replayed: whether it was sent again.
    """

    number: int
    at: datetime
    reason: str
    detail: str
    origin: str
    topic: str
    symbol: str
    payload: bytes
    replayed: bool = False

    def line(self) -> str:
        """The letter in one line: number, time, state, reason, origin, payload, detail."""
        text = self.payload[:300].decode(errors="replace")
        state = "replayed" if self.replayed else "waiting"
        parts = (str(self.number), f"{self.at:%Y-%m-%dT%H:%M:%S.%f}Z", state, self.reason, self.origin, text)
        return "\t".join((*parts, self.detail[:200].replace("\t", " ").replace("\n", " ")))


def read(consumer: Consumer) -> list[Letter]:
    """Every dead letter, oldest first.

    Raises:
        RetryableError: Kafka is down.
    """
    found: dict[int, Letter] = {}
    for message in messages(consumer, DEADLETTER_TOPIC, bounds(consumer, DEADLETTER_TOPIC)):
        head = {name: value.decode(errors="replace") for name, value in message.headers() or ()}
        if _RECEIPT in head:
            # A letter may expire before its receipt does.
            if (number := int(head[_RECEIPT])) in found:
                found[number] = replace(found[number], replayed=True)
            continue
        found[message.offset()] = Letter(
            number=message.offset(),
            at=datetime.fromtimestamp(message.timestamp()[1] / 1000, UTC),
            reason=head.get("reason", ""),
            detail=head.get("detail", ""),
            origin=head.get("origin", ""),
            topic=head.get("topic", EVENTS_TOPIC),
            symbol=head.get("symbol", ""),
            payload=message.value() or b"",
        )
    return list(found.values())


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
    producer.produce(DEADLETTER_TOPIC, b"", headers=[SCHEMA_HEADER, (_RECEIPT, str(letter.number).encode())])
    _flush(producer)
    return len(events)


def _flush(producer: Producer) -> None:
    if producer.flush(TIMEOUT_S):
        raise RetryableError(f"Kafka did not acknowledge within {TIMEOUT_S:g} s")


def _chosen(found: Sequence[Letter], ids: Sequence[int], limit: int | None) -> list[Letter]:
    """The requested letters: those numbered, or all pending ones, at most ``limit``."""
    if unknown := sorted(set(ids) - {letter.number for letter in found}):
        raise PoisonError("unknown letter", f"{unknown}; see `list`")
    wanted = [letter for letter in found if letter.number in ids or not (ids or letter.replayed)]
    return wanted[:limit]


def _replay_all(settings: Settings, letters: Sequence[Letter], payload: str | None) -> int:
    producer = kafka.producer(settings)
    refused = 0
    for letter in letters:
        if letter.replayed:
            refused += 1
            print(f"{letter.number}\tkept: it was sent before")
            continue
        mended = letter if payload is None else replace(letter, payload=payload.encode())
        try:
            count = replay(producer, mended, settings.future_tolerance_s, datetime.now(UTC), settings.trade_source)
            print(f"{letter.number}\tsent {count} events to {letter.topic}")
        except PoisonError as error:
            refused += 1
            print(f"{letter.number}\tkept: {error}")
    print(f"{len(letters) - refused} of {len(letters)} letters sent again, {refused} kept", file=sys.stderr)
    return refused


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="ingestion.dead_letters.letters", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    shown = commands.add_parser("list", help="one line per letter: number, time, state, reason, origin, payload")
    again = commands.add_parser("replay", help="send pending letters again if they are acceptable now")
    for each in (shown, again):
        each.add_argument("--limit", type=int, help="send at most this many, oldest first")
        each.add_argument("--id", type=int, action="append", default=[], help="this letter; may be repeated")
    again.add_argument("--payload", help='the event instead, as JSON: {"type":"trade","symbol":…}; needs one --id')
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """``list | replay [--limit N] [--id NUMBER …]``; returns 1 when a letter was kept."""
    asked = _parser().parse_args(arguments)
    set_up_logging()
    try:
        settings = load_settings()
        kafka.reach(settings)
        with closing(kafka.consumer(settings, group="tradelake-deadletter")) as consumer:
            found = read(consumer)
        if asked.command == "list":
            for letter in found[: asked.limit] if not asked.id else _chosen(found, asked.id, asked.limit):
                print(letter.line())
            return 0
        if asked.payload is not None and len(asked.id) != 1:
            raise PoisonError("payload", "name the one letter that it replaces with --id")
        return 1 if _replay_all(settings, _chosen(found, asked.id, asked.limit), asked.payload) else 0
    except LakeError as error:
        print(f"ingestion.dead_letters.letters: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
