"""Computes the consumer's lag at each scrape, so that it stays current while the consumer is stuck."""

from collections.abc import Callable, Iterable, Mapping

from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

# Shorter than Prometheus' scrape timeout.
TIMEOUT_S = 3.0


class LagCollector(Collector):
    """Exports ``consumer_lag_records`` of this member's partitions; no sample while Kafka does not answer.

    Args:
        committed: returns the committed offset per topic and partition; called from the scrape's thread.
    """

    def __init__(self, admin: AdminClient, committed: Callable[[], Mapping[tuple[str, int], int]]) -> None:
        self._admin = admin
        self._committed = committed

    def collect(self) -> Iterable[Metric]:
        """The current lag."""
        about = "Messages in Kafka not yet committed."
        found = GaugeMetricFamily("consumer_lag_records", about, labels=["topic", "partition"])
        committed = self._committed()
        for (topic, partition), end in self._ends(committed).items():
            found.add_metric([topic, str(partition)], max(0, end - committed[topic, partition]))
        yield found

    def _ends(self, partitions: Iterable[tuple[str, int]]) -> dict[tuple[str, int], int]:
        asked = {TopicPartition(*key): OffsetSpec.latest() for key in partitions}
        if not asked:
            return {}
        try:
            futures = self._admin.list_offsets(asked, request_timeout=TIMEOUT_S)
            return {(part.topic, part.partition): future.result().offset for part, future in futures.items()}
        except KafkaException:
            return {}
