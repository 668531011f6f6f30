"""Groups delivered messages by topic and checks that their offsets follow without a gap."""

import logging
from collections.abc import Mapping, Sequence

import numpy as np
from confluent_kafka import KafkaError, Message

from ingestion.kafka_log.batches import RawMessages
from lakehouse.errors import FatalError

log = logging.getLogger(__name__)
# Per topic and partition, one past the last message.
Ends = dict[tuple[str, int], int]
_LOST = (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE, KafkaError.UNKNOWN_TOPIC_OR_PART)


def by_topic(messages: Sequence[Message]) -> dict[str, RawMessages]:
    """The messages of each topic in order of arrival; logs error events.

    Raises:
        FatalError: the position is no longer in the log.
    """
    errors = [message for message in messages if message.error() is not None]
    for message in errors:
        where, error = f"{message.topic()}/{message.partition()}", message.error()
        if error.code() in _LOST:
            raise FatalError(f"{where}: {error}; the position is checked again on the next start")
        log.warning("%s: %s", where, error)
    if errors:
        messages = [message for message in messages if message.error() is None]
    topics = {message.topic() for message in messages}
    if len(topics) == 1:
        return {topics.pop(): _columns(messages)}
    return {topic: _columns([message for message in messages if message.topic() == topic]) for topic in sorted(topics)}


def ends(delivered: Mapping[str, RawMessages], due: Mapping[tuple[str, int], int]) -> Ends:
    """One past the last message of each partition.

    Args:
        delivered: as `by_topic` gives it.
        due: the offset expected of each partition's next message.

    Raises:
        FatalError: an offset is missing or repeated.
    """
    found = {}
    for topic, raws in delivered.items():
        for partition in np.unique(raws.partitions).tolist():
            offsets = raws.offsets[raws.partitions == partition]
            first = due[topic, partition]
            wrong = np.flatnonzero(offsets != np.arange(first, first + offsets.size))
            if wrong.size:
                got, wanted = offsets[wrong[0]], first + wrong[0]
                raise FatalError(f"{topic}/{partition}: got offset {got} instead of {wanted}; restarting")
            found[topic, partition] = first + offsets.size
    return found


def _columns(messages: Sequence[Message]) -> RawMessages:
    return RawMessages(
        np.array([message.partition() for message in messages], np.int64),
        np.array([message.offset() for message in messages], np.int64),
        [message.value() or b"" for message in messages],
    )
