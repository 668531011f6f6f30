"""Reading a topic to its end: the same messages whatever the broker hands out at a time, and an end to every wait."""

from typing import Any
from unittest.mock import Mock

import pytest
from confluent_kafka import KafkaError

from lakehouse.errors import RetryableError
from lakehouse.stores import kafka
from lakehouse.stores.kafka_reading import OffsetRange, bounds, messages


def message(partition: int, offset: int, error: KafkaError | None = None) -> Any:
    known = {"partition": partition, "offset": offset, "error": error}
    return Mock(**{name: Mock(return_value=value) for name, value in known.items()})


def test_partitions_are_read_together_up_to_the_end_they_had_at_first() -> None:
    # Offset 5 of partition 0 came after the ends were asked for.
    log = [message(0, 3), message(1, 0), message(0, 4), message(0, 5), message(1, 1)]
    client = Mock()
    client.consume.side_effect = [[], log[:2], log[2:]]
    ranges = {0: OffsetRange(3, 5), 1: OffsetRange(0, 2), 2: OffsetRange(7, 7)}
    found = [(m.partition(), m.offset()) for m in messages(client, "t", ranges)]
    assert found == [(0, 3), (1, 0), (0, 4), (1, 1)]
    assert [(p.partition, p.offset) for p in client.assign.call_args.args[0]] == [(0, 3), (1, 0)]
    client.unassign.assert_called_once_with()


def test_an_empty_topic_is_not_waited_for() -> None:
    client = Mock()
    assert list(messages(client, "t", {0: OffsetRange(4, 4)})) == []
    client.consume.assert_not_called()


def test_a_silent_broker_and_an_error_end_the_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    client = Mock()
    client.consume.return_value = []
    monkeypatch.setattr(kafka, "TIMEOUT_S", 0.0)
    with pytest.raises(RetryableError, match="no answer from t"):
        list(messages(client, "t", {0: OffsetRange(0, 1)}))
    client.consume.return_value = [message(0, 0, KafkaError(KafkaError.OFFSET_OUT_OF_RANGE))]
    with pytest.raises(RetryableError, match="reading t"):
        list(messages(client, "t", {0: OffsetRange(0, 1)}))


def test_bounds_name_a_missing_topic() -> None:
    client = Mock()
    client.list_topics.return_value.topics = {"t": Mock(error=None, partitions=[0, 1])}
    client.get_watermark_offsets.side_effect = [(2, 9), (0, 0)]
    assert bounds(client, "t") == {0: OffsetRange(2, 9), 1: OffsetRange(0, 0)}
    client.list_topics.return_value.topics = {"t": Mock(error=KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART))}
    with pytest.raises(RetryableError, match="topic t"):
        bounds(client, "t")
