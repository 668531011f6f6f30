"""Which events bronze takes, and why the others not."""

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from ingestion.kafka_log.validation import reasons
from lakehouse.messages import decode, encode
from lakehouse.records import Gap, Quote, Trade

NOW = datetime(2026, 10, 1, 12, 0, 0, 123456, tzinfo=UTC)
TRADE = Trade("BTC/USD", 7, 64_000.5, 0.25, "buy", "limit", NOW, NOW, "ws")
QUOTE = Quote("BTC/USD", 64_000.0, 1.0, 64_000.1, 2.0, NOW, NOW, "ws")
GAP = Gap("BTC/USD", "ticker", NOW, NOW, "reconnect")


def reason(value: dict[str, Any]) -> str | None:
    found: str | None = reasons(decode([orjson.dumps(value)], 1, [0]), 5.0)[0]
    return found


def changed(event: Trade | Quote | Gap, **fields: object) -> dict[str, Any]:
    value = orjson.loads(encode(event)) | fields
    return {name: field for name, field in value.items() if field is not None}


@pytest.mark.parametrize("event", [TRADE, QUOTE, GAP])
def test_good_events_pass(event: Trade | Quote | Gap) -> None:
    assert reason(changed(event)) is None


@pytest.mark.parametrize("name", ["symbol", "trade_id", "price", "qty", "ts", "received_at"])
def test_a_trade_needs_its_fields(name: str) -> None:
    assert reason(changed(TRADE, **{name: None})) == "missing_field"


@pytest.mark.parametrize("name", ["bid", "ask", "bid_qty", "ask_qty", "source"])
def test_a_quote_needs_its_fields(name: str) -> None:
    assert reason(changed(QUOTE, **{name: None})) == "missing_field"


@pytest.mark.parametrize(
    ("event", "fields", "expected"),
    [
        (TRADE, {"type": "order"}, "unknown_type"),
        (TRADE, {"price": 0}, "bad_value"),
        (TRADE, {"price": -1.0}, "bad_value"),
        (TRADE, {"qty": 0}, "bad_value"),
        (TRADE, {"side": "short"}, "bad_value"),
        (TRADE, {"source": "hearsay"}, "bad_value"),
        (TRADE, {"symbol": "btcusd"}, "bad_symbol"),
        (TRADE, {"symbol": "BTC/USD' OR 1=1"}, "bad_symbol"),
        (TRADE, {"ts": "1901-01-01T00:00:00.000000Z"}, "bad_time"),
        (QUOTE, {"bid": 0}, "bad_value"),
        (QUOTE, {"ask_qty": -0.1}, "bad_value"),
        (GAP, {"stream": "book"}, "bad_value"),
    ],
)
def test_bad_values_are_named(event: Trade | Quote | Gap, fields: dict[str, object], expected: str) -> None:
    assert reason(changed(event, **fields)) == expected


def test_an_empty_side_of_the_book_and_an_unknown_taker_are_fine() -> None:
    assert reason(changed(QUOTE, bid_qty=0)) is None
    assert reason(changed(TRADE, side=None, ord_type=None)) is None


def test_the_future_begins_after_the_tolerance() -> None:
    def stamped(ahead_s: float) -> str | None:
        return reason(changed(TRADE, received_at=(NOW - timedelta(seconds=ahead_s)).isoformat().replace("+00:00", "Z")))

    assert stamped(5.0) is None
    assert stamped(5.1) == "future"
