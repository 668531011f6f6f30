"""Publishes messages to Kafka: blocks while the broker is slow or down, and fails when it refuses a message."""

import threading
import time

from confluent_kafka import KafkaError, KafkaException, Message, Producer
from prometheus_client import Counter, Gauge

from ingestion.kafka_log.dead_letter_writer import enveloped
from lakehouse.errors import FatalError, RetryableError
from lakehouse.messages import SCHEMA_HEADER
from lakehouse.settings import DEADLETTER_TOPIC, EVENTS_TOPIC
from lakehouse.stores.kafka import KafkaHeaders

DEAD_LETTERS = Counter("producer_dead_letters_total", "Payloads set aside in the dead-letter topic.", ["reason"])
QUEUED = Gauge("kafka_queued_messages", "Messages waiting for Kafka's acknowledgement.")


class Publisher:
    """Sends messages in order and drops none; thread-safe."""

    def __init__(self, producer: Producer, stop: threading.Event) -> None:
        self._producer = producer
        self._stop = stop
        self._refused: str | None = None

    def send(self, topic: str, key: str, value: bytes, headers: KafkaHeaders = ()) -> None:
        """Queues one message; blocks while the queue is full.

        Raises:
            FatalError: Kafka permanently refused an earlier message. RetryableError: told to stop while blocked.
        """
        self._check()
        while True:
            try:
                self._producer.produce(
                    topic, value, key, headers=[SCHEMA_HEADER, *headers], on_delivery=self._on_delivery
                )
                return
            except KafkaException as error:
                raise FatalError(f"Kafka refused a message for {topic}: {error.args[0]}") from error
            except BufferError:
                self._producer.poll(0.1)
                self._check()
                if self._stop.is_set():
                    raise RetryableError(
                        "Kafka is down and the queue is full: stopping; the next start detects unsent messages"
                    ) from None

    def dead_letter(self, payload: bytes, reason: str, origin: str, detail: str = "", **more: str) -> None:
        """Sets a payload aside with its reason and origin (``ws``, ``rest``, ``file:NAME:LINE``).

        Args:
            more: further headers: ``topic`` (the destination; market.events by default) and ``symbol``.
        """
        DEAD_LETTERS.labels(reason).inc()
        texts = {"reason": reason, "origin": origin, "detail": detail, "topic": EVENTS_TOPIC} | more
        self.send(DEADLETTER_TOPIC, more.get("symbol", ""), *enveloped(payload, texts))

    def poll(self) -> None:
        """Handles the broker's acknowledgements; call it often."""
        self._producer.poll(0)
        QUEUED.set(len(self._producer))
        self._check()

    def flush(self, timeout_s: float) -> int:
        """Waits until every message is acknowledged or the timeout expires; returns how many are not."""
        deadline = time.monotonic() + timeout_s
        left = int(self._producer.flush(0.2))
        while left and time.monotonic() < deadline:
            self._check()
            left = int(self._producer.flush(0.2))
        self._check()
        return left

    def _check(self) -> None:
        if self._refused is not None:
            raise FatalError(self._refused)

    def _on_delivery(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._refused = (
                f"Kafka refused a message for {message.topic()}: {error.str()}; a restart finds what is missing"
            )
