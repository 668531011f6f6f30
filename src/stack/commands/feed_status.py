"""The state of the connection to the exchange, read from the producer's metrics."""

import time
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from lakehouse.errors import RetryableError
from lakehouse.settings import Settings
from stack.servers.probes import get

# Values of the metric `subscription_state`.
STATES = {-1: "refused", 0: "waiting", 1: "asked", 2: "acknowledged", 3: "delivering", 4: "leaving"}


@dataclass(frozen=True, slots=True)
class FeedReport:
    """The feed as ``status`` shows it.

    Attributes:
        connected: whether the WebSocket is open.
        exchange: online, maintenance, cancel_only, post_only or other, as reported by the exchange; empty until then.
        last_frame_s: age of the newest frame in seconds (heartbeats arrive every second); None before the first.
        subscriptions: per ``SYMBOL STREAM``, its state (`STATES`).
        lost: connections lost or failed, by reason, since the producer's start.
        holes: per symbol, missing trade ids that the producer is fetching over REST.
    """

    connected: bool
    exchange: str
    last_frame_s: float | None
    subscriptions: dict[str, str]
    lost: dict[str, int]
    holes: dict[str, int]


def feed_report(settings: Settings) -> FeedReport | None:
    """The feed's state; None if the producer does not answer."""
    try:
        text = get(f"http://{settings.bind_host}:{settings.producer_metrics_port}/metrics").text
    except RetryableError:
        return None
    return read(text, time.time())


def read(text: str, now: float) -> FeedReport:
    """Parses the report from a page of metrics; pure.

    Args:
        now: unix seconds.
    """
    samples: dict[str, list[Sample]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            samples.setdefault(sample.name, []).append(sample)

    def by(name: str, *labels: str) -> dict[str, int]:
        return {" ".join(s.labels[label] for label in labels): int(s.value) for s in samples.get(name, ())}

    frames = [sample.value for sample in samples.get("ws_last_frame_timestamp_seconds", ()) if sample.value]
    return FeedReport(
        connected=any(sample.value for sample in samples.get("ws_connected", ())),
        exchange=next((state for state, on in by("exchange_status", "state").items() if on), ""),
        last_frame_s=round(now - frames[0], 1) if frames else None,
        subscriptions={key: STATES[state] for key, state in by("subscription_state", "symbol", "stream").items()},
        lost=by("ws_reconnects_total", "reason"),
        holes=by("trade_holes_open", "symbol"),
    )
