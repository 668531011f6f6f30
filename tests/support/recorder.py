"""A publisher that only remembers what it was given."""

from typing import Any

import orjson

from ingestion.kafka_log.publisher import Publisher
from lakehouse.stores.kafka import KafkaHeaders


class Recorder(Publisher):
    """What was sent, in order; instead of Kafka."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str, dict[str, Any]]] = []
        self.dead: list[tuple[bytes, str, str]] = []

    def send(self, topic: str, key: str, value: bytes, headers: KafkaHeaders = ()) -> None:
        self.sent.append((topic, key, orjson.loads(value)))

    def dead_letter(self, payload: bytes, reason: str, origin: str, detail: str = "", **more: str) -> None:
        self.dead.append((payload, reason, origin))

    def poll(self) -> None:
        """Nothing waits here."""

    def flush(self, timeout_s: float) -> int:
        return 0

    @property
    def events(self) -> list[dict[str, Any]]:
        """The values sent."""
        return [value for _, _, value in self.sent]
