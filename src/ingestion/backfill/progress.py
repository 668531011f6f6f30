"""Tracks how much of a file was sent: a checkpoint on disk, made exact by the log itself.

Every message of a file has ``file`` (its identity) and ``row`` in its headers. Messages of a symbol lie in one
partition in the order they were sent, so the highest row in the log is exactly where a killed run stopped. The
checkpoint only says from which offset to search, and which files are finished.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, replace
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
        size: the file's bytes if it ends with a whole line; a longer file that begins with them has grown from it.
        offsets: per partition of market.history, a lower bound of the offsets of later rows.
        first, last: times of the first and last trade, RFC 3339; None before anything was sent.
        done: whether Kafka has the whole file.
    """

    name: str
    row: int = 0
    size: int = 0
    offsets: dict[str, int] = field(default_factory=dict)
    first: str | None = None
    last: str | None = None
    done: bool = False


class Journal:
    """The checkpoint of one file; written atomically, so that kill -9 leaves the old one or the new one."""

    def __init__(self, folder: Path, path: Path, symbol: str, kind: str, pair: str) -> None:
        self._name = path.name
        sizes = [found.size for found in map(_read, folder.glob("*.json")) if found and found.done and found.size]
        self.file_id, beginnings = identity(path, symbol, kind, pair, sizes)
        self._path = folder / f"{self.file_id}.json"
        self._grown_from = next((p for each in reversed(beginnings) if (p := folder / f"{each}.json").exists()), None)
        self._size = path.stat().st_size if _ends_with_line(path) else 0

    def read(self) -> Progress | None:
        """The checkpoint; None for a new file."""
        return _read(self._path)

    def fresh(self) -> Progress:
        """The progress of a new file; a grown file starts after the rows that were loaded before."""
        before = _read(self._grown_from) if self._grown_from else None
        return Progress(self._name, row=before.row if before else 0, size=self._size)

    def write(self, progress: Progress) -> None:
        """Replaces the checkpoint."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        draft = self._path.with_suffix(".draft")
        draft.write_bytes(orjson.dumps(asdict(progress)))
        draft.replace(self._path)


def _read(path: Path) -> Progress | None:
    """A checkpoint; None where there is none, or the file is something else."""
    if not path.exists() or path.name.startswith("pending-"):
        return None
    known = orjson.loads(path.read_bytes())
    return Progress(**{each.name: known[each.name] for each in fields(Progress) if each.name in known})


def _ends_with_line(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 1))
        return file.read() == b"\n"


def identity(path: Path, symbol: str, kind: str, pair: str, sizes: Sequence[int] = ()) -> tuple[str, list[str]]:
    """What a file is known by: its bytes, and as what it is read; its name does not matter.

    Args:
        sizes: lengths of known files, as whose continuation this one may turn out.

    Returns:
        The identity, and that of the file's beginning at each of the sizes below its own, ascending.
    """
    use = f"{symbol} {kind} " if pair == symbol else f"{symbol} {kind} {pair} "
    digest, beginnings, read = hashlib.sha256(use.encode()), [], 0
    with path.open("rb") as file:
        for stop in [*sorted({size for size in sizes if size < path.stat().st_size}), None]:
            while block := file.read(2**20 if stop is None else min(2**20, stop - read)):
                digest.update(block)
                read += len(block)
            if stop is not None:
                beginnings.append(digest.hexdigest()[:24])
    return digest.hexdigest()[:24], beginnings


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
