"""Tracks how much of a file was sent: a checkpoint on disk, made exact by the log itself.

Every message of a file has ``file`` (its identity) and ``row`` in its headers. Messages of a symbol lie in one
partition in the order they were sent, so the highest row in the log is exactly where a killed run stopped. The
checkpoint only says from which offset to search, and which files are finished.
"""

import hashlib
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import orjson
from confluent_kafka import Consumer

from lakehouse.settings import HISTORY_TOPIC
from lakehouse.stores.kafka_reading import OffsetRange, bounds, messages

FILE_HEADER, ROW_HEADER = "file", "row"


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of one file.

    Attributes:
        name: the file's name, for people.
        row: the last row sent to Kafka or set aside.
        base: for a file without ids, the number of ids that other such files of the symbol use before it.
        offsets: per partition of market.history, a lower bound of the offsets of later rows.
        first, last: times of the first and last trade, RFC 3339; None before anything was sent.
        done: whether Kafka has the whole file.
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
        """The checkpoint; None for a new file."""
        if not self._path.exists():
            return None
        return Progress(**orjson.loads(self._path.read_bytes()))

    def fresh(self) -> Progress:
        """The progress of a new file."""
        return Progress(self._name)

    def write(self, progress: Progress) -> None:
        """Replaces the checkpoint."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        draft = self._path.with_suffix(".draft")
        draft.write_bytes(orjson.dumps(asdict(progress)))
        draft.replace(self._path)


def identity(path: Path, symbol: str, kind: str, pair: str) -> str:
    """A file's identity: its bytes and how they are interpreted; the name does not matter."""
    use = f"{symbol} {kind} " if pair == symbol else f"{symbol} {kind} {pair} "
    digest = hashlib.sha256(use.encode())
    with path.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()[:24]


def ends(consumer: Consumer) -> dict[str, int]:
    """The end offset of each partition of the history log.

    Raises:
        RetryableError: Kafka is down or lacks the topic.
    """
    return {str(partition): held.end for partition, held in bounds(consumer, HISTORY_TOPIC).items()}


def caught_up(consumer: Consumer, file_id: str, progress: Progress) -> Progress:
    """The progress, advanced to the file's last row in the log.

    Raises:
        RetryableError: Kafka is down.
    """
    row = progress.row
    ranges = {p: _rest(held, progress.offsets.get(str(p))) for p, held in bounds(consumer, HISTORY_TOPIC).items()}
    for message in messages(consumer, HISTORY_TOPIC, ranges):
        told = dict(message.headers() or ())
        if told.get(FILE_HEADER) == file_id.encode():
            row = max(row, int(told[ROW_HEADER]))
    return replace(progress, row=row)


def _rest(held: OffsetRange, offset: int | None) -> OffsetRange:
    """What a partition holds from an offset on; all of it where the offset is missing or bygone."""
    return OffsetRange(offset, held.end) if offset is not None and held.start <= offset <= held.end else held
