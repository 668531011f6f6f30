"""Processes a batch of events: bronze, engine, silver, Redis; retries each step until it succeeds."""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

import numpy as np
import orjson
import polars as pl

from features.engine import EngineState, fold
from features.spec import NAMES, EngineConfig, spec_hash
from features.table import SILVER
from ingestion.consumer import metrics, warm_up
from ingestion.consumer.first_delivery import HeldTrades, by_symbol, first_deliveries
from ingestion.consumer.refusals import RefusalLimit
from ingestion.consumer.retention_guard import RetentionGuard
from ingestion.consumer.stored_positions import PositionRecord
from ingestion.kafka_log.batches import ORIGINS, DeadLetter, TopicBatch
from ingestion.kafka_log.dead_letter_writer import DeadLetterWriter
from ingestion.kafka_log.position import Position
from lakehouse import process
from lakehouse.errors import PoisonError, RetryableError
from lakehouse.messages import EVENT_SCHEMA
from lakehouse.records import FeatureRow
from lakehouse.retention import dropped_days
from lakehouse.schema import BRONZE_GAPS, BRONZE_QUOTES, BRONZE_TRADES, Table
from lakehouse.settings import EVENTS_TOPIC
from lakehouse.stores.questdb import QuestDB
from lakehouse.stores.redis import FEATURES, Redis

log = logging.getLogger(__name__)
T = TypeVar("T")
# Publish every row, so that each gets a forecast; a batch with more rows of one symbol means that we are behind.
MAX_PUBLISHED = 32
BRONZE = {"trade": BRONZE_TRADES, "quote": BRONZE_QUOTES, "gap": BRONZE_GAPS}


@dataclass(frozen=True, slots=True)
class Stores:
    """The servers that the pipeline reads and writes."""

    questdb: QuestDB
    redis: Redis
    letters: DeadLetterWriter


class Pipeline:
    """Processes one batch at a time; not thread-safe.

    Args:
        stores: clients.
        config: the engine's configuration.
        halt: once set, a step that waits for a server gives up with `RetryableError`; the batch is then incomplete,
            and `forget` must be called before the next one.
    """

    def __init__(self, stores: Stores, config: EngineConfig, halt: threading.Event) -> None:
        self._stores = stores
        self._halt = halt
        self._spec = spec_hash(config)
        self._state = EngineState.empty(config)
        self._held: dict[str, HeldTrades] = {}
        self._partition: dict[str, int] = {}
        self._positions: dict[tuple[str, int], Position] = {}
        self._record = PositionRecord(stores.questdb)
        self._writers = ThreadPoolExecutor(len(BRONZE), "bronze")
        self._limits = {table.name: RefusalLimit(table.name) for table in (*BRONZE.values(), SILVER)}
        self._refusal = RetentionGuard(lambda: self._retry("questdb", lambda: dropped_days(stores.questdb)))

    def close(self) -> None:
        """Stops the writer threads."""
        self._writers.shutdown()

    def place(self, positions: Mapping[tuple[str, int], Position]) -> None:
        """Sets the position of each (topic, partition); a new symbol's state is rebuilt on its first event."""
        self._positions.update(positions)

    def record(self, positions: Mapping[tuple[str, int], Position]) -> None:
        """Records in QuestDB that everything below these positions is processed, before Kafka is told."""
        with metrics.timed("position"):
            self._retry("questdb", lambda: self._record.store(positions))
        self.place(positions)

    def stands_at(self, topic: str, partition: int, place: Position) -> bool:
        """Whether the state of a partition ends exactly at ``place``."""
        return self._positions.get((topic, partition)) == place

    def forget(self, partitions: set[int]) -> None:
        """Drops the state of these partitions' symbols."""
        for symbol in [s for s, partition in self._partition.items() if partition in partitions]:
            self._forget_symbol(symbol)
        self._positions = {key: at for key, at in self._positions.items() if key[1] not in partitions}
        self._record.forget(partitions)

    def process(self, parts: Sequence[TopicBatch], dead: Sequence[DeadLetter]) -> None:
        """Processes a batch up to Redis; afterwards its offsets may be committed.

        Raises:
            RetryableError: halted while waiting for a server. FatalError: the consumer cannot continue.
        """
        with metrics.timed("restore"):
            for part in parts:
                self._restore(part)
        self._set_aside(list(dead))
        for whole in parts:
            part, late = self._refusal.split(whole)
            self._set_aside(late)
            events = self._bronze(part, self._fresh(part))
            if part.origin == "live" and events.height:
                self._live(part, events)

    def _live(self, part: TopicBatch, events: pl.DataFrame) -> None:
        with metrics.timed("fold"):
            self._state, rows = fold(self._state, events[list(EVENT_SCHEMA)])
        if not rows.height:
            return
        with metrics.timed("silver"):
            head = {"origin": pl.lit("live"), "spec": pl.lit(self._spec), "run": pl.lit(0, pl.Int64)}
            rows = rows.with_columns(**head)
            refused = self._write(SILVER, rows)
            self._set_aside([_dead_row(part, rows.row(i, named=True), error) for i, error in refused])
        with metrics.timed("redis"):
            newest = rows
            if rows.height > MAX_PUBLISHED:
                newest = rows.group_by("symbol", maintain_order=True).tail(MAX_PUBLISHED)
            told = [_feature_row(row) for row in newest.iter_rows(named=True)]
            self._retry("redis", lambda: self._stores.redis.publish(FEATURES, told))
        metrics.count_rows(rows)

    def _fresh(self, part: TopicBatch) -> pl.DataFrame:
        """The part's events without trades that bronze already holds."""
        with metrics.timed("deduplicate"):
            places = (part.events["type"] == "trade").arg_true()
            trades = part.events[["symbol", "trade_id", "seq"]][places]
            keep = first_deliveries(trades, part.origin, self._held)
            if keep.all():
                return part.events
            for symbol, rows in by_symbol(trades["symbol"].filter(pl.Series(~keep))):
                metrics.DUPLICATES.labels(symbol).inc(len(rows))
            kept = np.ones(part.events.height, np.bool_)
            kept[places.to_numpy()] = keep
            return part.events.filter(pl.Series(kept))

    def _bronze(self, part: TopicBatch, events: pl.DataFrame) -> pl.DataFrame:
        """Writes events to their tables in parallel; returns those that bronze accepted."""
        with metrics.timed("bronze"):
            frames = [(table, events[(events["type"] == kind).arg_true()]) for kind, table in BRONZE.items()]
            jobs = [
                (frame, self._writers.submit(self._write, table, frame[list(table.names)]))
                for table, frame in frames
                if frame.height
            ]
            refused = [(frame, i, error) for frame, job in jobs for i, error in job.result()]
        metrics.count_events(events)
        if not refused:
            return events
        rows = [int(frame.item(i, "row")) for frame, i, _ in refused]
        self._set_aside([part.dead(row, error) for row, (_, _, error) in zip(rows, refused, strict=True)])
        # Their ids were marked as held; read from bronze again which ids it holds.
        for symbol in {str(frame.item(i, "symbol")) for frame, i, _ in refused}:
            self._held[symbol] = self._held_of(symbol)
        return events.filter(~pl.col("row").is_in(rows))

    def _write(self, table: Table, frame: pl.DataFrame) -> list[tuple[int, PoisonError]]:
        """Writes rows; returns the positions of those refused, and the errors.

        Raises:
            FatalError: the table lacks what the rows have, or refuses too many of them.
        """
        self._limits[table.name].offer(frame.height)
        return self._halved(table, frame, 0)

    def _halved(self, table: Table, frame: pl.DataFrame, start: int) -> list[tuple[int, PoisonError]]:
        """Writes rows; halves a refused batch until bad rows are isolated."""
        try:
            self._retry("questdb", lambda: self._stores.questdb.write(table, frame))
            return []
        except PoisonError as error:
            if frame.height == 1:
                self._limits[table.name].refuse(error)
                return [(start, error)]
            half = frame.height // 2
            return self._halved(table, frame[:half], start) + self._halved(table, frame[half:], start + half)

    def _set_aside(self, letters: list[DeadLetter]) -> None:
        if not letters:
            return
        for letter in letters:
            origin = f"{letter.topic}/{letter.partition}@{letter.offset}"
            log.warning("set aside %s: %s", origin, letter.detail)
            metrics.DEAD.labels(letter.reason).inc()
        self._retry("kafka", lambda: self._stores.letters.send(letters))

    def _restore(self, part: TopicBatch) -> None:
        """Rebuilds, from bronze, the state of symbols not seen before."""
        new = [symbol for symbol in part.events["symbol"].unique() if symbol not in self._held]
        for symbol in new:
            row = part.events["row"].filter(part.events["symbol"] == symbol)[0]
            self._partition[symbol] = int(part.raws.partitions[row])
            self._held[symbol] = self._held_of(symbol)
            place = self._positions[EVENTS_TOPIC, self._partition[symbol]]
            folded = self._retry("questdb", partial(self._replay, symbol, place))
            log.info("restored %s: %d trades held, %d events folded", symbol, len(self._held[symbol].ids), folded)

    def _replay(self, symbol: str, place: Position) -> int:
        self._state.drop(symbol)
        return warm_up.replay(self._stores.questdb, symbol, place, self._state)

    def _held_of(self, symbol: str) -> HeldTrades:
        """The trades bronze holds, read once every acknowledged write is visible."""
        self._retry("questdb", lambda: self._stores.questdb.wait_applied(table.name for table in BRONZE.values()))
        places = {name: self._positions[topic, self._partition[symbol]] for topic, name in ORIGINS.items()}
        return self._retry("questdb", lambda: warm_up.held(self._stores.questdb, symbol, places))

    def _forget_symbol(self, symbol: str) -> None:
        self._state.drop(symbol)
        self._held.pop(symbol, None)
        self._partition.pop(symbol)

    def _retry(self, server: str, step: Callable[[], T]) -> T:
        def counted() -> T:
            try:
                return step()
            except RetryableError:
                metrics.RETRIES.labels(server).inc()
                raise

        return process.retrying(counted, self._halt, server)


def _feature_row(row: Mapping[str, Any]) -> FeatureRow:
    """A silver row as published on Redis."""
    head = {name: row[name] for name in ("symbol", "ts", "spec", "epoch", "seq", "complete", "received_at")}
    return FeatureRow(**head, values={name: row[name] for name in NAMES})


def _dead_row(part: TopicBatch, row: Mapping[str, Any], error: PoisonError) -> DeadLetter:
    """The message that caused a silver row, with the row as its payload."""
    cause = (pl.col("symbol") == row["symbol"]) & (pl.col("seq") == row["seq"])
    letter = part.dead(part.events.filter(cause)["row"][0], error)
    return replace(letter, detail=f"silver row: {error}", payload=orjson.dumps(dict(row), default=str))
