"""What Kafka delivered, by topic and partition: nothing left out, nothing twice, errors told from messages."""

import pytest
from confluent_kafka import KafkaError, Message

from ingestion.kafka_log.delivery import by_topic, ends
from lakehouse.errors import FatalError
from lakehouse.settings import EVENTS_TOPIC, HISTORY_TOPIC


def message(topic: str, partition: int, offset: int, value: bytes | None = b"{}") -> Message:
    return Message(topic=topic, partition=partition, offset=offset, value=value)


def failed(code: int) -> Message:
    return Message(topic=EVENTS_TOPIC, partition=0, offset=0, error=KafkaError(code))


def test_messages_are_split_by_topic_in_their_order_with_live_ones_first() -> None:
    found = by_topic(
        [
            message(HISTORY_TOPIC, 1, 7, b"h"),
            message(EVENTS_TOPIC, 1, 4, b"a"),
            message(EVENTS_TOPIC, 0, 9, None),
            message(EVENTS_TOPIC, 1, 5, b"b"),
        ]
    )
    assert list(found) == [EVENTS_TOPIC, HISTORY_TOPIC]
    live = found[EVENTS_TOPIC]
    assert list(zip(live.partitions.tolist(), live.offsets.tolist(), live.values, strict=True)) == [
        (1, 4, b"a"),
        (0, 9, b""),
        (1, 5, b"b"),
    ]
    due = {(EVENTS_TOPIC, 0): 9, (EVENTS_TOPIC, 1): 4, (HISTORY_TOPIC, 1): 7}
    assert ends(found, due) == {(EVENTS_TOPIC, 0): 10, (EVENTS_TOPIC, 1): 6, (HISTORY_TOPIC, 1): 8}


@pytest.mark.parametrize("offsets", [(5, 7), (5, 5), (6,), (4, 5)])
def test_an_offset_missing_or_delivered_twice_is_fatal(offsets: tuple[int, ...]) -> None:
    found = by_topic([message(EVENTS_TOPIC, 2, offset) for offset in offsets])
    with pytest.raises(FatalError, match=f"{EVENTS_TOPIC}/2: got offset"):
        ends(found, {(EVENTS_TOPIC, 2): 5})


def test_a_passing_error_is_no_message_and_a_lost_position_is_fatal() -> None:
    assert by_topic([failed(KafkaError._ALL_BROKERS_DOWN)]) == {}
    found = by_topic([failed(KafkaError._ALL_BROKERS_DOWN), message(EVENTS_TOPIC, 0, 3)])
    assert len(found[EVENTS_TOPIC]) == 1
    with pytest.raises(FatalError, match="the position is checked again"):
        by_topic([failed(KafkaError.OFFSET_OUT_OF_RANGE)])
