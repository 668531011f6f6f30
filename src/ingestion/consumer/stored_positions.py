"""Keeps the consumer's positions in QuestDB, where they are lost and restored together with the data."""

import time
from collections.abc import Callable, Mapping, Set
from datetime import UTC, datetime, timedelta

import polars as pl

from ingestion.kafka_log.position import Position
from lakehouse.errors import FatalError
from lakehouse.schema import META_POSITIONS
from lakehouse.stores.questdb import QuestDB

# QuestDB cannot be stopped, put back and started in less.
MIN_RESTART_S = 0.5
_EPOCH_0 = datetime(1970, 1, 1, tzinfo=UTC)
_TYPES: dict[str, pl.DataType] = {"ts": pl.Datetime("us", "UTC"), "partition_id": pl.Int32()}


def store(questdb: QuestDB, positions: Mapping[tuple[str, int], Position]) -> None:
    """Records that everything below these positions is in bronze and silver.

    Raises:
        RetryableError: the server is away.
    """
    rows = [
        {
            "ts": _EPOCH_0 + timedelta(microseconds=place.epoch),
            "topic": topic,
            "partition_id": number,
            "epoch": place.epoch,
            "next_seq": place.offset,
        }
        for (topic, number), place in positions.items()
    ]
    questdb.write(META_POSITIONS, pl.DataFrame(rows, schema_overrides=_TYPES))


def stored(questdb: QuestDB, epochs: Mapping[str, int]) -> dict[tuple[str, int], int]:
    """The recorded offset of each (topic, partition) that has one in its topic's epoch.

    Raises:
        RetryableError: the server is away.
    """
    questdb.wait_applied([META_POSITIONS.name])
    rows = questdb.rows("SELECT topic, partition_id, epoch, next_seq FROM meta_positions")
    return {(topic, number): offset for topic, number, epoch, offset in rows if epochs.get(topic) == epoch}


class PositionRecord:
    """The positions that this process has recorded; notices when QuestDB holds older ones; not thread-safe.

    The client connects again without a word, so after each silence in which QuestDB could have been started again,
    it is asked what it holds.

    Args:
        clock: seconds, rising.
    """

    def __init__(self, questdb: QuestDB, clock: Callable[[], float] = time.monotonic) -> None:
        self._questdb = questdb
        self._clock = clock
        self._newest: dict[tuple[str, int], Position] = {}
        self._stored_at = clock()

    def forget(self, partitions: Set[int]) -> None:
        """Leaves these partitions to another member, who may start them again from an earlier position."""
        self._newest = {key: place for key, place in self._newest.items() if key[1] not in partitions}

    def store(self, positions: Mapping[tuple[str, int], Position]) -> None:
        """Records positions like `store`.

        Raises:
            RetryableError: the server is away. FatalError: it no longer has what was recorded before.
        """
        if self._newest and self._clock() - self._stored_at > MIN_RESTART_S:
            self._check()
        store(self._questdb, positions)
        self._stored_at = self._clock()
        self._newest |= positions

    def _check(self) -> None:
        held = stored(self._questdb, {topic: place.epoch for (topic, _), place in self._newest.items()})
        for (topic, number), place in self._newest.items():
            found = held.get((topic, number), 0)
            if found < place.offset:
                raise FatalError(
                    f"{topic}/{number}: QuestDB holds messages below {found}, but was told {place.offset}: its folder "
                    "is an earlier copy. Start the consumer again: it reads the rest from Kafka"
                )
