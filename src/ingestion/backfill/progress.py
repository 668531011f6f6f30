"""How far a file has come: a checkpoint on disk, made exact by what the log itself holds.

Every message of a file carries ``file`` (what identifies it) and ``row`` in its headers. Messages of a symbol lie in
one partition in the order they were sent, so the highest row in the log tells exactly where a killed run got to. The
checkpoint only says from which offset on to look, and what is finished.
"""

import hashlib
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import orjson
from confluent_kafka import Consumer, KafkaException, TopicPartition

from lakehouse.errors import RetryableError
from lakehouse.settings import HISTORY_TOPIC
from lakehouse.stores.kafka import TIMEOUT_S, kafka_error

FILE_HEADER, ROW_HEADER = "file", "row"
Headers = list[tuple[str, bytes]]


@dataclass(frozen=True, slots=True)
class Progress:
    """What is known of one file.

    Attributes:
        name: of the file, for people.
        row: the last row that Kafka has, or that was set aside.
        base: for a file without ids: how many ids other such files of the symbol take up before it.
        offsets: per partition of market.history, an offset that no later row lies below.
        first, last: times of the first and last trade, RFC 3339; None while nothing was sent.
        done: all of it is in Kafka.
    """

    name: str
    row: int = 0
    base: int | None = None
    offsets: dict[str, int] = field(default_factory=dict)
    first: str | None = None
    last: str | None = None
    done: bool = False


class Journal:
    """The checkpoint of one file; written atomically, so that kill -9 leaves the old one or the new one."""

    def __init__(self, folder: Path, path: Path, symbol: str, kind: str, pair: str) -> None:
        self.file_id = identity(path, symbol, kind, pair)
        self._path = folder / f"{self.file_id}.json"
        self._name = path.name

    def read(self) -> Progress | None:
        """The checkpoint, None for a file that is new here."""
        if not self._path.exists():
            return None
        return Progress(**orjson.loads(self._path.read_bytes()))

    def fresh(self) -> Progress:
        """A file of which nothing is known."""
        return Progress(self._name)

    def write(self, progress: Progress) -> None:
        """Replaces the checkpoint."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        draft = self._path.with_suffix(".draft")
        draft.write_bytes(orjson.dumps(asdict(progress)))
        draft.replace(self._path)


def identity(path: Path, symbol: str, kind: str, pair: str) -> str:
    """What a file is known by: its bytes, and as what it is read; its name does not matter."""
    use = f"{symbol} {kind} " if pair == symbol else f"{symbol} {kind} {pair} "
    digest = hashlib.sha256(use.encode())
    with path.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()[:24]


def ends(consumer: Consumer) -> dict[str, int]:
    """The end of each partition of the history log.

    Raises:
        RetryableError: Kafka is away or lacks the topic.
    """
    return {str(partition): high for partition, (_, high) in _watermarks(consumer).items()}


def caught_up(consumer: Consumer, file_id: str, progress: Progress) -> Progress:
    """The progress moved on to the last row of the file that the log holds.

    Raises:
        RetryableError: Kafka is away.
    """
    row = progress.row
    for headers in _since(consumer, {int(p): offset for p, offset in progress.offsets.items()}):
        told = dict(headers)
        if told.get(FILE_HEADER) == file_id.encode():
            row = max(row, int(told[ROW_HEADER]))
    return replace(progress, row=row)


def _watermarks(consumer: Consumer) -> dict[int, tuple[int, int]]:
    try:
        topic = consumer.list_topics(HISTORY_TOPIC, timeout=TIMEOUT_S).topics[HISTORY_TOPIC]
        if topic.error is not None:
            raise RetryableError(f"Kafka: topic {HISTORY_TOPIC}: {topic.error}; is the lake up (scripts/up.sh)?")
        return {
            p: consumer.get_watermark_offsets(TopicPartition(HISTORY_TOPIC, p), timeout=TIMEOUT_S)
            for p in topic.partitions
        }
    except KafkaException as error:
        raise kafka_error(error, "Kafka") from error


def _since(consumer: Consumer, offsets: dict[int, int]) -> Iterator[Headers]:
    """Headers of every message from the offsets on (a missing or bygone one: from the beginning of what is kept)."""
    left, starts = {}, []
    for partition, (low, high) in _watermarks(consumer).items():
        start = offsets.get(partition, low)
        start = start if low <= start <= high else low
        if start < high:
            left[partition] = high
            starts.append(TopicPartition(HISTORY_TOPIC, partition, start))
    consumer.assign(starts)
    heard = time.monotonic()
    while left:
        for message in consumer.consume(10_000, timeout=0.5):
            heard = time.monotonic()
            if message.error() is not None:
                raise kafka_error(message.error(), "Kafka")
            if message.offset() + 1 >= left.get(message.partition(), 0):
                left.pop(message.partition(), None)
            yield message.headers() or []
        if time.monotonic() - heard > TIMEOUT_S:
            raise RetryableError(f"Kafka: no answer from {HISTORY_TOPIC} within {TIMEOUT_S:g} s")
    consumer.unassign()
