"""Writes dead letters with reason and origin, once each, truncated only if Kafka would refuse their size."""

from collections.abc import Mapping, Sequence

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from ingestion.kafka_log.batches import DeadLetter
from lakehouse.errors import RetryableError
from lakehouse.messages import SCHEMA_HEADER
from lakehouse.settings import DEADLETTER_TOPIC
from lakehouse.stores import kafka
from lakehouse.stores.kafka import KafkaHeaders

TIMEOUT_S = 30.0
# Room for key, headers and framing beside the largest payload.
_ROOM = 64 * 1024
_DETAIL = 1000


def enveloped(payload: bytes, texts: Mapping[str, str]) -> tuple[bytes, KafkaHeaders]:
    """Value and headers of a letter. A payload too large for Kafka is cut; ``truncated`` has its original length.

    >>> value, headers = enveloped(b"x" * (kafka.MAX_BYTES + 1), {"reason": "unparsable"})
    >>> len(value) < kafka.MAX_BYTES, headers
    (True, [('reason', b'unparsable'), ('truncated', b'8388609')])
    """
    headers = [(name, value[:_DETAIL].encode()) for name, value in texts.items()]
    most = kafka.MAX_BYTES - _ROOM
    if len(payload) > most:
        headers.append(("truncated", str(len(payload)).encode()))
    return payload[:most], headers


class DeadLetterWriter:
    """Sends dead letters; remembers which are queued, so that repeating `send` duplicates nothing."""

    def __init__(self, producer: Producer) -> None:
        self._producer = producer
        self._queued: set[DeadLetter] = set()
        self._error: KafkaError | None = None

    def send(self, letters: Sequence[DeadLetter]) -> None:
        """Returns when Kafka has acknowledged all letters.

        Raises:
            RetryableError: Kafka is down; the letters stay queued, call again with them. FatalError: it refuses them.
        """
        for letter in letters:
            if letter not in self._queued:
                self._queue(letter)
        # A letter whose delivery failed leaves the queued set, so the next call queues it again.
        if self._producer.flush(TIMEOUT_S) or not self._queued.issuperset(letters):
            raise self._late()
        self._queued.clear()

    def _queue(self, letter: DeadLetter) -> None:
        texts = {"reason": letter.reason, "detail": letter.detail, "topic": letter.topic}
        texts["origin"] = f"{letter.topic}/{letter.partition}@{letter.offset}"
        value, headers = enveloped(letter.payload, texts)

        def on_delivery(error: KafkaError | None, _message: Message) -> None:
            if error is not None:
                self._queued.discard(letter)
                self._error = error

        while True:
            try:
                self._producer.produce(
                    DEADLETTER_TOPIC, value, headers=[SCHEMA_HEADER, *headers], on_delivery=on_delivery
                )
                break
            except BufferError:
                if self._producer.flush(TIMEOUT_S):
                    raise self._late() from None
            except KafkaException as error:
                raise kafka.kafka_error(error, "Kafka, setting a message aside") from error
        self._queued.add(letter)

    def _late(self) -> RetryableError:
        return RetryableError(f"Kafka: dead letters not delivered within {TIMEOUT_S:g} s {self._error or ''}".rstrip())
