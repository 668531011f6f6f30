"""Kafka's client: which errors end it, and where a key goes."""

import pytest
from confluent_kafka import KafkaError, KafkaException

from lakehouse.errors import FatalError, LakeError, RetryableError
from lakehouse.stores import kafka
from lakehouse.stores.kafka import partition_of


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (KafkaError(KafkaError._TRANSPORT), RetryableError),
        (KafkaError(KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER, "", True), FatalError),
        (KafkaError(KafkaError._FATAL), FatalError),
    ],
)
def test_a_client_that_is_broken_for_good_is_not_asked_again(error: KafkaError, kind: type[LakeError]) -> None:
    assert type(kafka.kafka_error(KafkaException(error), "Kafka")) is kind


def test_keys_go_where_kafkas_java_client_puts_them() -> None:
    # Values of murmur2 from Kafka's own UtilsTest.
    known = {"21": -973932308, "foobar": -790332482, "a-little-bit-long-string": -985981536}
    for key, value in known.items():
        assert partition_of(key, 1000) == (value & 0x7FFFFFFF) % 1000
