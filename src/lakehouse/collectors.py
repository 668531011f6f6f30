"""Prometheus collectors for what has no /metrics: Redis and the lake's disk."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from prometheus_client import REGISTRY
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from lakehouse.disk import free_ratio
from lakehouse.errors import LakeError
from lakehouse.stores.redis import Redis

# Metric name as in redis_exporter: (field of Redis' INFO, meaning).
REDIS_FIGURES = {
    "redis_memory_used_bytes": ("used_memory", "Memory that Redis has in use."),
    "redis_connected_clients": ("connected_clients", "Open connections to Redis."),
    "redis_commands_processed_total": ("total_commands_processed", "Commands since Redis started."),
    "redis_uptime_in_seconds": ("uptime_in_seconds", "Seconds since Redis started."),
}


class RedisCollector(Collector):
    """Redis' statistics, read at each scrape; ``redis_up`` is 0 while it does not answer."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def collect(self) -> Iterable[Metric]:
        """The current statistics."""
        try:
            info = self._redis.info()
        except LakeError:
            yield GaugeMetricFamily("redis_up", "Whether Redis answers.", 0)
            return
        yield GaugeMetricFamily("redis_up", "Whether Redis answers.", 1)
        for name, (field, about) in REDIS_FIGURES.items():
            yield GaugeMetricFamily(name, about, float(info[field]))


class DiskCollector(Collector):
    """The free share of the disk under ``folder``, between 0 and 1."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def collect(self) -> Iterable[Metric]:
        """The current share."""
        yield GaugeMetricFamily("disk_free_ratio", "Free share of the disk under the lake.", free_ratio(self._folder))


@contextmanager
def registered(*collectors: Collector) -> Iterator[None]:
    """Registers the collectors for the duration of the block."""
    for collector in collectors:
        REGISTRY.register(collector)
    try:
        yield
    finally:
        for collector in collectors:
            REGISTRY.unregister(collector)
