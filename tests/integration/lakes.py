"""What several integration tests need of a lake: believable feature rows, and waiting for something to come true."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from features.spec import NAMES, EngineConfig, spec_hash
from lakehouse.errors import RetryableError
from lakehouse.settings import Settings
from lakehouse.times import format_time

T = TypeVar("T")
PRICES = frozenset(("bid", "ask", "mid", "last", "microprice"))


def spec_of(settings: Settings) -> str:
    """Hash of the feature definitions under these settings."""
    return spec_hash(EngineConfig.of(settings))


def feature_row(settings: Settings, symbol: str, seq: int, age_s: float = 0.0, price: float = 100.0) -> dict[str, Any]:
    """A row as the consumer publishes it, received ``age_s`` seconds ago."""
    now = format_time(datetime.now(UTC) - timedelta(seconds=age_s))
    values: dict[str, float | None] = {
        name: price if name in PRICES else 1e-6 * (i + 1) for i, name in enumerate(NAMES)
    }
    values["rv_24h"] = None
    return {
        "symbol": symbol,
        "ts": now,
        "received_at": now,
        "spec": spec_of(settings),
        "epoch": 1,
        "seq": seq,
        "complete": True,
        "values": values,
    }


def eventually(ask: Callable[[], T | None], timeout_s: float = 20.0, every_s: float = 0.05) -> T:
    """The first truthy answer; servers being away counts as not yet."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            answer: T | None = ask()
        except RetryableError:
            answer = None
        if answer:
            return answer
        assert time.monotonic() < deadline, f"not within {timeout_s:g} s"
        time.sleep(every_s)
