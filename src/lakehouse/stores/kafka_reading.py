"""Reads a topic from given offsets to its current end, without using a group's committed offsets."""

import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from lakehouse.errors import RetryableError
from lakehouse.settings import Settings
from lakehouse.stores import kafka

_BATCH = 10_000
_POLL_S = 0.5


@dataclass(frozen=True, slots=True)
class OffsetRange:
    """The offsets ``start <= offset < end`` of a partition."""

    start: int
    end: int


def bounds(client: Consumer, topic: str) -> dict[int, OffsetRange]:
    """The current offset range of each partition of a topic.

    Raises:
        RetryableError: Kafka is down or lacks the topic.
    """
    try:
        found = client.list_topics(topic, timeout=kafka.TIMEOUT_S).topics[topic]
    except KafkaException as error:
        raise kafka.kafka_error(error, f"Kafka, {topic}") from error
    if found.error is not None:
        raise RetryableError(f"Kafka: topic {topic}: {found.error}; is the lake up (tradelake up)?")
    parts = [TopicPartition(topic, number) for number in found.partitions]
    return {part.partition: OffsetRange(*kafka.watermarks(client, part)) for part in parts}


def messages(client: Consumer, topic: str, ranges: Mapping[int, OffsetRange]) -> Iterator[Message]:
    """Every message in the ranges, in order within each partition.

    Raises:
        RetryableError: Kafka is down, or silent for `kafka.TIMEOUT_S`.
    """
    left = {partition: wanted.end for partition, wanted in ranges.items() if wanted.start < wanted.end}
    client.assign([TopicPartition(topic, partition, ranges[partition].start) for partition in left])
    heard = time.monotonic()
    while left:
        for message in client.consume(_BATCH, timeout=_POLL_S):
            heard = time.monotonic()
            if message.error() is not None:
                raise kafka.kafka_error(message.error(), f"Kafka, reading {topic}")
            end = left.get(message.partition(), 0)
            if message.offset() < end:
                yield message
            if message.offset() + 1 >= end:
                left.pop(message.partition(), None)
        if time.monotonic() - heard > kafka.TIMEOUT_S:
            raise RetryableError(f"Kafka: no answer from {topic} within {kafka.TIMEOUT_S:g} s")
    client.unassign()


def whole(settings: Settings, topic: str, group: str) -> list[Message]:
    """Everything that a topic holds now, by partition and offset.

    Args:
        group: whom the broker is told; nothing is committed.
    """
    with closing(kafka.consumer(settings, group)) as client:
        found = messages(client, topic, bounds(client, topic))
        return sorted(found, key=lambda message: (message.partition(), message.offset()))
