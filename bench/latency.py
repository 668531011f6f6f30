"""From an event's receipt to its stored forecast, through the whole lake, a feature row per event; last line JSON.

Real Kafka, QuestDB and Redis, the consumer, the API and the predictor as processes of their own. Quotes of one symbol
are sent to Kafka at a steady rate, stamped when they are sent; the forecast is on Redis once it is stored, so the time
until it is seen there is a little more than the time until it is stored.

``python -m bench.latency [--rates 20,50,200] [--seconds S]``
"""

import argparse
import json
import tempfile
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import httpx
import numpy as np
from confluent_kafka import Producer

from lakehouse.errors import RetryableError
from lakehouse.messages import SCHEMA_HEADER, encode
from lakehouse.records import Quote
from lakehouse.settings import EVENTS_TOPIC, Settings
from lakehouse.stores.kafka import producer
from lakehouse.stores.redis import FORECASTS, Redis
from tests.support.servers import running, scratch_settings

# Processes import and compile on first use; what is measured is what goes on for days.
WARM_UP_S = 15.0
# Steps of a batch, by the process whose metrics tell them.
STEPS = {
    "consumer": ("read", "deduplicate", "bronze", "fold", "silver", "redis", "commit"),
    "predictor": ("predict", "store", "publish"),
}


class Listener:
    """Collects, in a thread, how long after its event's receipt each forecast was seen."""

    def __init__(self, settings: Settings) -> None:
        self.seen: list[tuple[float, float]] = []
        self._settings = settings
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        # Redis ends before we do.
        with suppress(RetryableError):
            for row in Redis(self._settings).follow(FORECASTS, self._settings.symbols):
                if row is not None:
                    now = time.time()
                    received = row.received_at.timestamp()
                    self.seen.append((received, (now - received) * 1e3))


def send(settings: Settings, out: Producer, rate: float, seconds: float) -> tuple[float, int]:
    """Sends quotes at a steady rate; returns when it began (seconds since 1970) and how many were sent."""
    begun = time.time()
    count = int(rate * seconds)
    for i in range(count):
        time.sleep(max(0.0, begun + i / rate - time.time()))
        now = datetime.now(UTC)
        price = 50_000.0 + (i * 37 % 101) / 10
        quote = Quote(settings.symbols[0], price, 1.0, price + 1.0, 2.0, now, now, "sim")
        out.produce(EVENTS_TOPIC, encode(quote), key=settings.symbols[0], headers=[SCHEMA_HEADER])
        out.poll(0)
    out.flush()
    return begun, count


def steps(settings: Settings) -> dict[str, tuple[float, float]]:
    """Per step of consumer and predictor: seconds spent and batches, from their metrics."""
    found = {}
    for process, names in STEPS.items():
        port = getattr(settings, f"{process}_metrics_port")
        text = httpx.get(f"http://{settings.bind_host}:{port}/metrics").text
        lines = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
        for step in names:
            name = f'{process}_step_seconds_{{}}{{{{step="{step}"}}}}'
            told = (float(lines.get(name.format("sum"), 0)), float(lines.get(name.format("count"), 0)))
            found[f"{process}_{step}"] = told
    return found


def measure(settings: Settings, out: Producer, listener: Listener, rate: float, seconds: float) -> dict[str, float]:
    """p50 and p99 in ms at one rate, rows without a forecast, and the mean of each step per batch."""
    before, (begun, count) = steps(settings), send(settings, out, rate, seconds)
    time.sleep(2.0)
    taken = [took for received, took in list(listener.seen) if received >= begun - 0.001]
    figures = {"p50_ms": round(float(np.percentile(taken, 50)), 1), "p99_ms": round(float(np.percentile(taken, 99)), 1)}
    figures |= {"events": count, "not_forecast": count - len(taken)}
    for step, (spent, batches) in steps(settings).items():
        figures[f"{step}_ms"] = round((spent - before[step][0]) / max(1, batches - before[step][1]) * 1e3, 2)
    return figures


def main() -> None:
    """Starts the lake, warms it up, measures each rate and prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rates", default="20,50,200", help="events per second, comma-separated")
    parser.add_argument("--seconds", type=float, default=20.0, help="at each rate")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tradelake-latency-") as scratch:
        settings = scratch_settings(Path(scratch), feature_interval_ms=0, symbols="BTC/USD", kafka_partitions=1)
        with running(settings, "questdb", "kafka", "redis") as servers:
            servers.start("consumer", "api")
            servers.start("predictor")
            listener = Listener(settings)
            out = producer(settings, linger_ms=0.0)
            send(settings, out, 20, WARM_UP_S)
            rates = [float(rate) for rate in arguments.rates.split(",")]
            figures = {f"{rate:g}_per_s": measure(settings, out, listener, rate, arguments.seconds) for rate in rates}
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
