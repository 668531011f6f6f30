"""Lists the dead-letter topic with reason and origin."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime

from confluent_kafka import Consumer

from lakehouse.errors import PoisonError
from lakehouse.settings import DEADLETTER_TOPIC, EVENTS_TOPIC, Settings
from lakehouse.stores import kafka
from lakehouse.stores.kafka_reading import bounds, messages

# The header of a receipt: the number of the letter that was replayed.
RECEIPT = "replayed"


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

    def as_json(self) -> dict[str, object]:
        """Plain values, the payload as text."""
        return asdict(self) | {"payload": self.payload.decode(errors="replace")}

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
        if RECEIPT in head:
            # A letter may expire before its receipt does.
            if (number := int(head[RECEIPT])) in found:
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


def pending(found: Sequence[Letter], ids: Sequence[int], limit: int | None) -> list[Letter]:
    """The letters to replay: those numbered, or all that were not yet, at most ``limit``.

    Raises:
        PoisonError: there is no letter of that number.
    """
    if unknown := sorted(set(ids) - {letter.number for letter in found}):
        raise PoisonError("unknown letter", f"{unknown}; see tradelake dead-letters list")
    wanted = [letter for letter in found if letter.number in ids or not (ids or letter.replayed)]
    return wanted[:limit]


def read_all(settings: Settings) -> list[Letter]:
    """`read` with a client of its own."""
    kafka.reach(settings)
    with closing(kafka.consumer(settings, group="tradelake-deadletter")) as consumer:
        return read(consumer)
