"""What tests of the feed need: a simulator and a producer on one lake, and all that Kafka got from them."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import orjson

from lakehouse.settings import EVENTS_TOPIC, Settings
from lakehouse.stores import kafka
from lakehouse.stores.kafka_reading import whole
from tests.support.servers import LocalServers, free_ports

SYMBOLS = ("BTC/USD", "ETH/USD", "SOL/USD")


@dataclass
class Feeds:
    """A simulator and a producer as child processes; either can be killed and started again."""

    settings: Settings
    processes: LocalServers

    def events(self, topic: str = EVENTS_TOPIC) -> list[dict[str, Any]]:
        """Everything in a topic, per partition in log order."""
        return [orjson.loads(value) for value, _ in read_topic(self.settings, topic)]

    def metric(self, name: str, **labels: str) -> float:
        """The sum of the producer's samples of that name with those labels; 0 while it is not up."""
        try:
            port = self.settings.producer_metrics_port
            text = httpx.get(f"http://127.0.0.1:{port}/metrics").text
        except httpx.TransportError:
            return 0.0
        lines = [line for line in text.splitlines() if line.startswith((f"{name}{{", f"{name} "))]
        wanted = [f'{key}="{value}"' for key, value in labels.items()]
        return sum(float(line.rpartition(" ")[2]) for line in lines if all(part in line for part in wanted))


def read_topic(settings: Settings, topic: str) -> list[tuple[bytes, dict[str, bytes]]]:
    """Values and headers of a topic as it is now."""
    found = whole(settings, topic, "tests-feeds")
    return [(message.value() or b"", dict(message.headers() or ())) for message in found]


@contextmanager
def feeds(lake: Settings, folder: Path, faults: Sequence[dict[str, Any]] = (), **overrides: Any) -> Iterator[Feeds]:
    """Topics made, a simulator with a fault script and a producer set up; the test starts them."""
    script = folder / "faults.json"
    script.write_bytes(orjson.dumps({"seed": 7, "faults": list(faults)}))
    names = ("simulator_port", "simulator_metrics_port", "producer_metrics_port")
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    settings = lake.model_copy(
        update=ports | {"symbols": SYMBOLS, "simulator_faults": str(script), "kraken_rest_interval_s": 0.2} | overrides
    )
    kafka.ensure_topics(kafka.admin(settings), settings.kafka_partitions)
    processes = LocalServers(settings)
    try:
        yield Feeds(settings, processes)
    finally:
        processes.stop_all()


def trades_of(events: Sequence[dict[str, Any]], symbol: str) -> dict[int, list[dict[str, Any]]]:
    """Every delivery of each trade id of a symbol."""
    found: dict[int, list[dict[str, Any]]] = {}
    for event in events:
        if event["type"] == "trade" and event["symbol"] == symbol:
            found.setdefault(event["trade_id"], []).append(event)
    return found


def holes_in(ids: Sequence[int]) -> list[int]:
    """The ids missing between the lowest and the highest."""
    return sorted(set(range(min(ids), max(ids) + 1)) - set(ids)) if ids else []


def after(seconds: float) -> Callable[[], bool]:
    """True once that much time has gone by."""
    end = time.monotonic() + seconds
    return lambda: time.monotonic() > end
