"""Sends a file's rows to the history log: vectorised, resumable after `kill -9`, each row at most once."""

import io
import logging
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
from confluent_kafka import Consumer
from tqdm import tqdm

from formats.raw import BadRow
from formats.reader import Chunk, ForeignFile
from formats.refusal import LINE, Kind, ReadOptions, RefusedFileError
from formats.survey import Survey
from ingestion.backfill.held_history import HeldHistory
from ingestion.backfill.pending import Pending
from ingestion.backfill.progress import FILE_HEADER, ROW_HEADER, Journal, Progress, caught_up, ends
from ingestion.kafka_log.publisher import Publisher
from lakehouse.errors import RetryableError
from lakehouse.settings import HISTORY_TOPIC
from lakehouse.times import format_time

log = logging.getLogger(__name__)

FLUSH_S = 60.0
# A checkpoint waits for every acknowledgement; the log itself tells where a killed run stopped.
CHECKPOINT_S = 5.0
SHOWN = 10
_TIME_FORMAT = "%Y-%m-%dT%H:%M:%S%.6fZ"


@dataclass(frozen=True, slots=True)
class Loaded:
    """The result of loading a file.

    Attributes:
        sent: rows sent in this run; 0 for a file loaded before.
        bad: rows set aside, in total.
        others: skipped rows of other symbols.
        empty: whether there was no valid row.
        dense: whether the trade ids have no holes; None for quotes and without a valid row.
        seconds: time spent sending.
    """

    sent: int
    bad: int
    others: int
    empty: bool
    dense: bool | None
    seconds: float


class Loader:
    """Sends files of one symbol.

    Args:
        publisher: sends to Kafka.
        consumer: reads the log back; outside the consumer group.
        folder: the folder of checkpoints.
        lake: answers what bronze holds of a file without checkpoint.
        pending: records spans that need silver rows.
    """

    def __init__(
        self, publisher: Publisher, consumer: Consumer, folder: Path, lake: HeldHistory, pending: Pending
    ) -> None:
        self._publisher = publisher
        self._consumer = consumer
        self._folder = folder
        self._lake = lake
        self._pending = pending

    def load(self, path: Path, symbol: str, kind: Kind, options: ReadOptions) -> Loaded:
        """Sends the rows of the file that Kafka does not have yet; the whole file is checked before anything is sent.

        Args:
            symbol: what the lake calls it.
            options: what the user says about the file; ``pair`` is what the file calls the symbol.

        Raises:
            RefusedFileError: the file cannot be read as trades (or quotes), or has none of the symbol.
            RetryableError: Kafka is down.
        """
        pair = options.pair or symbol
        source = ForeignFile(path, kind, replace(options, symbol=symbol, pair=pair, sizes=True))
        known = _judged(source, pair)
        journal = Journal(self._folder, path, symbol, kind, pair)
        progress = self._resume(journal)
        began = time.monotonic()
        run = _Run(symbol, kind, self._publisher, journal, progress, self._lake, self._pending)
        total, saved = known.rows + known.others.total(), began
        with tqdm(desc=f"{path.name} → Kafka", unit=" rows", total=total, mininterval=0.5) as bar:
            for chunk in source.read(known):
                run.take(chunk)
                bar.update(chunk.good.height + len(chunk.bad) + chunk.others.total())
                if run.unsaved and time.monotonic() - saved >= CHECKPOINT_S:
                    self._save(run)
                    saved = time.monotonic()
        self._save(run, done=True)
        return run.summary(time.monotonic() - began, known)

    def _resume(self, journal: Journal) -> Progress:
        progress = journal.read()
        if progress is not None and progress.done:
            log.info("%s was loaded before: nothing to send", progress.name)
            return progress
        found = caught_up(self._consumer, journal.file_id, progress or journal.fresh())
        if found.row:
            log.info("%s: resumes after row %d", found.name, found.row)
        return found

    def _save(self, run: "_Run", done: bool = False) -> None:
        if left := self._publisher.flush(FLUSH_S):
            raise RetryableError(f"Kafka did not acknowledge {left} messages within {FLUSH_S:g} s; run this again")
        run.save(ends(self._consumer), done)


class _Run:
    """One run over a file."""

    def __init__(
        self,
        symbol: str,
        kind: Kind,
        publisher: Publisher,
        journal: Journal,
        progress: Progress,
        lake: HeldHistory,
        pending: Pending,
    ) -> None:
        self._symbol, self._kind, self._publisher, self._journal = symbol, kind, publisher, journal
        self._progress, self._lake, self._pending = progress, lake, pending
        self._sent = self._bad = 0
        self._others: Counter[str] = Counter()
        self._empty = True
        self.unsaved = False

    def take(self, chunk: Chunk) -> None:
        """Sends the rows of a chunk that are not in the log yet."""
        good = chunk.good.with_columns(pl.lit(self._symbol).alias("symbol"))
        if good.height:
            if self._kind == "quote" and self._empty and self._progress.row == 0:
                self._lake.check_new_quotes(self._symbol, good.row(0, named=True), self._progress.name)
            self._empty = False
        self._set_aside(chunk.bad)
        self._others += chunk.others
        if self._progress.done or chunk.last_line <= self._progress.row:
            return
        new = good.filter(pl.col(LINE) > self._progress.row)
        self._note(new)
        file, send, symbol = (FILE_HEADER, self._journal.file_id.encode()), self._publisher.send, self._symbol
        for line, value in zip(new[LINE].to_list(), encoded(new, self._kind, datetime.now(UTC)), strict=True):
            send(HISTORY_TOPIC, symbol, value, (file, (ROW_HEADER, b"%d" % line)))
        self._publisher.poll()
        self._sent += new.height
        self._progress = replace(self._progress, row=chunk.last_line)
        self.unsaved = True

    def save(self, offsets: dict[str, int], done: bool) -> None:
        """Writes the checkpoint once everything so far is acknowledged."""
        if not self._progress.done:
            self._progress = replace(self._progress, offsets=offsets, done=done)
            self._journal.write(self._progress)
        self.unsaved = False

    def summary(self, seconds: float, known: Survey) -> Loaded:
        """The result of this run."""
        dense = known.ids == "dense" if self._kind == "trade" and known.good else None
        return Loaded(self._sent, self._bad, self._others.total(), self._empty, dense, seconds)

    def _note(self, new: pl.DataFrame) -> None:
        """Records the span before its rows are sent, so that a kill right afterwards does not lose it."""
        first, last = new["ts"].min(), new["ts"].max()
        if isinstance(first, datetime) and isinstance(last, datetime):
            self._pending.add(self._symbol, first, last)

    def _set_aside(self, bad: tuple[BadRow, ...]) -> None:
        for row in bad:
            self._bad += 1
            if self._bad <= SHOWN:
                log.warning("%s, line %d: %s: %.120s", self._progress.name, row.line, row.reason, row.text)
            if row.line > self._progress.row and not self._progress.done:
                origin = f"file:{self._progress.name}:{row.line}"
                self._publisher.dead_letter(
                    row.text.encode(), row.reason, origin, row.reason, topic=HISTORY_TOPIC, symbol=self._symbol
                )


def _judged(source: ForeignFile, pair: str) -> Survey:
    """All of a file read once, so that one that does not do is refused before anything of it is sent.

    Raises:
        RefusedFileError: it is not taken.
    """
    with tqdm(desc=f"{source.name}: first look", unit=" rows", mininterval=0.5) as bar:
        known = source.survey(bar.update)
    if not known.rows and known.others:
        names = ", ".join(name for name, _ in known.others.most_common(SHOWN))
        raise RefusedFileError(
            f"{known.name} has no {known.kind}s of {pair}: its symbols are {names}; name one with --symbol, "
            "or with --pair beside it where the file does not write it as BTC/USD"
        )
    if refused := known.refused():
        raise RefusedFileError(refused)
    for warning in known.warnings():
        log.warning("%s: %s", known.name, warning)
    return known


def encoded(rows: pl.DataFrame, kind: Kind, received_at: datetime) -> Iterator[bytes]:
    """Encodes rows as message values, in order; some hundred times faster than one by one."""
    constants = {"type": kind, "received_at": format_time(received_at), "source": "file"}
    texts = rows.drop(LINE).with_columns(
        pl.col("ts").dt.strftime(_TIME_FORMAT), *(pl.lit(value).alias(name) for name, value in constants.items())
    )
    buffer = io.BytesIO()
    texts.write_ndjson(buffer)
    return iter(buffer.getvalue().splitlines())
