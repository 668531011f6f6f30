"""Decodes Kafka messages into data frames of valid events and sets the invalid ones aside; pure."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from ingestion.completeness.interval_set import Ids
from ingestion.kafka_log.validation import reasons
from lakehouse.errors import PoisonError
from lakehouse.messages import EVENT_SCHEMA, decode
from lakehouse.settings import EVENTS_TOPIC, HISTORY_TOPIC

ORIGINS = {EVENTS_TOPIC: "live", HISTORY_TOPIC: "history"}


_NOTHING = pl.DataFrame(schema={**EVENT_SCHEMA, "row": pl.Int64, "origin": pl.String})


@dataclass(frozen=True, slots=True)
class RawMessages:
    """Messages of one topic as columns: one Python object per message would cost more than parsing it.

    Attributes:
        partitions, offsets: of each message; offsets ascend within a partition.
        values: the message values; empty for a tombstone.
    """

    partitions: Ids
    offsets: Ids
    values: Sequence[bytes]

    @classmethod
    def of(cls, partition: int, first: int, values: Sequence[bytes]) -> "RawMessages":
        """Consecutive messages of one partition, from offset ``first``."""
        return cls(np.full(len(values), partition), np.arange(first, first + len(values)), values)

    def __len__(self) -> int:
        """How many messages."""
        return len(self.values)

    def __getitem__(self, rows: slice) -> "RawMessages":
        """Some of them."""
        return RawMessages(self.partitions[rows], self.offsets[rows], self.values[rows])


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A payload to set aside: the reason, and the message (or row) it came from."""

    reason: str
    detail: str
    topic: str
    partition: int
    offset: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class TopicBatch:
    """The events of one topic in a batch.

    Attributes:
        topic: where they came from.
        events: `EVENT_SCHEMA`, per partition in log order, plus ``origin`` and ``row``, the place in ``raws``.
        raws: the messages as they came.
    """

    topic: str
    events: pl.DataFrame
    raws: RawMessages

    @property
    def origin(self) -> str:
        """``live`` or ``history``, as bronze names it."""
        return ORIGINS[self.topic]

    def dead(self, row: int, error: PoisonError) -> DeadLetter:
        """The message behind ``row`` as a dead letter."""
        partition, offset = int(self.raws.partitions[row]), int(self.raws.offsets[row])
        return DeadLetter(error.reason, str(error), self.topic, partition, offset, self.raws.values[row])


def read(topic: str, epoch: int, raws: RawMessages, future_tolerance_s: float) -> tuple[TopicBatch, list[DeadLetter]]:
    """Parses and checks the messages of one topic.

    Returns:
        The events that bronze accepts, and the messages that it does not.
    """
    frames, poisoned = _decode(raws, epoch, ORIGINS[topic], 0)
    events = frames[0] if len(frames) == 1 else pl.concat(frames or [_NOTHING])
    part = TopicBatch(topic, events, raws)
    dead = [part.dead(row, error) for row, error in poisoned]
    reason = reasons(events, future_tolerance_s)
    if reason.null_count() == reason.len():
        return part, dead
    refused = events.select("row", reason).drop_nulls("reason")
    dead += [part.dead(row, PoisonError(why, "refused by validation")) for row, why in refused.iter_rows()]
    return TopicBatch(topic, events.filter(reason.is_null()), raws), dead


def _decode(
    raws: RawMessages, epoch: int, origin: str, start: int
) -> tuple[list[pl.DataFrame], list[tuple[int, PoisonError]]]:
    """Decodes all messages at once; on failure, halves them until the bad ones are isolated."""
    rows = pl.int_range(start, start + len(raws), dtype=pl.Int64).alias("row")
    try:
        frame = decode(raws.values, epoch, raws.offsets)
        return [frame.with_columns(rows, pl.lit(origin).alias("origin"))], []
    except PoisonError as error:
        if len(raws) == 1:
            return [], [(start, error)]
        half = len(raws) // 2
        left, left_bad = _decode(raws[:half], epoch, origin, start)
        right, right_bad = _decode(raws[half:], epoch, origin, start + half)
        return left + right, left_bad + right_bad
