"""Keeps the consumer's positions in QuestDB, where they are lost and restored together with the data."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import polars as pl

from ingestion.kafka_log.position import Position
from lakehouse.schema import META_POSITIONS
from lakehouse.stores.questdb import QuestDB

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
