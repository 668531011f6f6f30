"""Kraken's frames: what is asked, what is understood, and that nothing else gets through or crashes."""

import contextlib
import csv
import doctest
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestion.kraken import ws_messages
from ingestion.kraken.ws_messages import (
    Ack,
    BareError,
    Heartbeat,
    Other,
    Pong,
    QuoteFrame,
    Rejection,
    Status,
    TradeFrame,
    parse_frame,
    parse_time,
    ping,
    subscribe,
)
from lakehouse.errors import PoisonError
from lakehouse.records import Quote, Trade
from lakehouse.times import format_time
from tests.support.recordings import Recordings

NOW = datetime(2026, 9, 25, 10, 15, 32, tzinfo=UTC)

TRADE = {
    "symbol": "BTC/USD",
    "side": "sell",
    "price": 64249.9,
    "qty": 0.0125,
    "ord_type": "market",
    "trade_id": 91234567,
    "timestamp": "2026-09-25T10:15:21.004518Z",
}
QUOTE = {
    "symbol": "BTC/USD",
    "bid": 64250.0,
    "bid_qty": 1.5,
    "ask": 64250.1,
    "ask_qty": 0.85,
    "last": 64250.1,
    "volume": 1834.20451122,
    "vwap": 63990.4,
    "low": 63011.0,
    "high": 64810.5,
    "change": 512.3,
    "change_pct": 0.8,
    "trades": 51234,
    "timestamp": "2026-09-25T10:15:30.410022Z",
}


def data(channel: str, *items: object, kind: str = "update") -> str:
    """A data frame of these items."""
    return json.dumps({"channel": channel, "type": kind, "data": list(items)})


def test_doctests() -> None:
    result = doctest.testmod(ws_messages)
    assert result.attempted >= 8 and result.failed == 0


def test_subscribe_says_snapshot_and_trigger() -> None:
    request = json.loads(subscribe("ticker", ["BTC/USD", "ETH/USD"], 4))
    assert request == {
        "method": "subscribe",
        "params": {"channel": "ticker", "symbol": ["BTC/USD", "ETH/USD"], "event_trigger": "bbo", "snapshot": True},
        "req_id": 4,
    }
    assert "event_trigger" not in json.loads(subscribe("trade", ["BTC/USD"], 1))["params"]


def test_ping_has_no_params() -> None:
    assert json.loads(ping(9)) == {"method": "ping", "req_id": 9}


def test_status_keeps_all_64_bits_of_the_connection_id() -> None:
    frame = data("status", {"system": "maintenance", "connection_id": 18446744073709551615})
    assert parse_frame(frame, NOW) == Status("maintenance", 18446744073709551615)


def test_replies() -> None:
    result = '{"channel":"ohlc","symbol":"BTC/USD","warnings":["old"]}'
    ack = f'{{"method":"subscribe","req_id":1,"result":{result},"success":true}}'
    assert parse_frame(ack, NOW) == Ack("subscribe", "ohlc", "BTC/USD", 1, ("old",))
    assert parse_frame('{"method":"unsubscribe","result":{"channel":"instrument"},"success":true}', NOW) == Ack(
        "unsubscribe", "instrument", None, None
    )
    refusal = (
        '{"error":"Currency pair not supported XBT/USD","method":"subscribe","req_id":7,'
        '"success":false,"symbol":"XBT/USD"}'
    )
    assert parse_frame(refusal, NOW) == Rejection("subscribe", "Currency pair not supported XBT/USD", "XBT/USD", 7)
    no_symbol = '{"error":"Subscription depth not supported","method":"subscribe","success":false}'
    assert parse_frame(no_symbol, NOW) == Rejection("subscribe", "Subscription depth not supported", None, None)
    failed_ping = '{"error":"Unsupported field: \'params\' …","method":"ping","req_id":0,"success":false}'
    assert isinstance(parse_frame(failed_ping, NOW), Rejection)
    assert parse_frame('{"method":"pong","time_in":"x"}', NOW) == Pong(None)


def test_bare_errors_in_both_spellings() -> None:
    assert parse_frame('{"Error":"Exceeded msg rate"}', NOW) == BareError("Exceeded msg rate")
    assert parse_frame('{"error":"Malformed request"}', NOW) == BareError("Malformed request")


def test_trades_of_several_symbols_in_one_frame() -> None:
    frame = data("trade", TRADE, TRADE | {"symbol": "ETH/USD", "side": "buy", "new_key": 1}, kind="snapshot")
    parsed = parse_frame(frame, NOW, "sim")
    time = datetime(2026, 9, 25, 10, 15, 21, 4518, tzinfo=UTC)
    first = Trade("BTC/USD", 91234567, 64249.9, 0.0125, "sell", "market", time, NOW, "sim")
    assert isinstance(parsed, TradeFrame) and parsed.snapshot
    assert parsed.trades[0] == first
    assert (parsed.trades[1].symbol, parsed.trades[1].side) == ("ETH/USD", "buy")
    assert parse_frame(data("trade"), NOW) == TradeFrame((), False)


def test_quotes_with_and_without_what_is_optional() -> None:
    full = parse_frame(data("ticker", QUOTE), NOW)
    assert isinstance(full, QuoteFrame) and not full.snapshot
    assert full.quotes[0].change_pct == 0.8 and full.quotes[0].ts == datetime(
        2026, 9, 25, 10, 15, 30, 410022, tzinfo=UTC
    )
    bare = {k: v for k, v in QUOTE.items() if k in ("symbol", "bid", "bid_qty", "ask", "ask_qty")} | {"last": None}
    assert parse_frame(data("ticker", bare), NOW) == QuoteFrame(
        (Quote("BTC/USD", 64250.0, 1.5, 64250.1, 0.85, NOW, NOW, "ws"),), False
    )


def test_other_channels_are_named_not_refused() -> None:
    assert parse_frame('{"channel":"instrument","type":"snapshot","data":{"assets":[]}}', NOW) == Other("instrument")
    assert parse_frame('{"channel":"heartbeat"}', NOW) == Heartbeat()


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"price": "64249.9"}, "price"),
        ({"price": 0}, "price"),
        ({"price": True}, "price"),
        ({"qty": -1.0}, "qty"),
        ({"qty": None}, "qty"),
        ({"side": "hold"}, "side"),
        ({"trade_id": 1.5}, "trade_id"),
        ({"trade_id": -1}, "trade_id"),
        ({"trade_id": 2**63}, "trade_id"),
        ({"trade_id": True}, "trade_id"),
        ({"ord_type": ""}, "ord_type"),
        ({"symbol": "BTCUSD"}, "symbol"),
        ({"timestamp": 1790331321}, "timestamp"),
        ({"timestamp": "2026-02-30T00:00:00Z"}, "2026-02-30"),
        ({"timestamp": "1969-12-31T23:59:59Z"}, "1969"),
    ],
)
def test_a_bad_trade_is_poison_that_names_the_field(change: dict[str, object], what: str) -> None:
    with pytest.raises(PoisonError, match=what):
        parse_frame(data("trade", TRADE | change), NOW)


@pytest.mark.parametrize("name", ["symbol", "bid", "bid_qty", "ask", "ask_qty"])
def test_a_quote_without_its_core_is_poison(name: str) -> None:
    with pytest.raises(PoisonError, match=name):
        parse_frame(data("ticker", {k: v for k, v in QUOTE.items() if k != name}), NOW)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "7",
        "{}",
        '{"channel":7}',
        '{"method":null}',
        '{"method":"subscribe","success":true}',
        '{"method":"pong","req_id":"x"}',
        '{"channel":"trade","data":{}}',
        '{"channel":"trade","data":[1]}',
        '{"channel":"status","data":[]}',
        '{"channel":"trade","type":"update","data":[{"price":NaN}]}',
        '{"error":5}',
        "[" * 100_000,
        b"\xff\xfe\x00",
    ],
)
def test_what_breaks_the_protocol_is_poison(text: str | bytes) -> None:
    with pytest.raises(PoisonError):
        parse_frame(text, NOW)


@pytest.mark.parametrize("digits", range(10))
def test_times_with_0_to_9_fraction_digits(digits: int) -> None:
    fraction = "987654321"[:digits]
    text = "2026-09-25T10:15:31" + (f".{fraction}" if digits else "") + "Z"
    micros = int(fraction.ljust(6, "0")[:6])
    assert parse_time(text) == datetime(2026, 9, 25, 10, 15, 31, micros, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-09-25",
        "2026-09-25T10:15:31",
        "2026-09-25 10:15:31Z",
        "2026-09-25T10:15:31+02:00",
        "20260925T101531Z",
        "2026-09-25T10:15:31.1234567890Z",
        "2026-09-25T10:15:31.Z",
        "2026-09-25T24:15:31Z",
        "٢٠٢٦-09-25T10:15:31Z",
    ],
)
def test_other_forms_of_time_are_poison(text: str) -> None:
    with pytest.raises(PoisonError, match="time"):
        parse_time(text)


@given(st.integers(0, 9 * 10**15))
def test_every_time_comes_back(micros: int) -> None:
    value = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)
    assert parse_time(format_time(value)) == value


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)
FRAMES = st.fixed_dictionaries(
    {},
    optional={
        "channel": st.sampled_from(["trade", "ticker", "status", "heartbeat", "book"]) | JSON,
        "method": st.sampled_from(["pong", "subscribe"]) | JSON,
        "data": st.lists(
            st.fixed_dictionaries({}, optional={k: st.just(v) | JSON for k, v in (TRADE | QUOTE).items()}) | JSON,
            max_size=3,
        )
        | JSON,
        "type": JSON,
        "result": JSON,
        "req_id": JSON,
        "success": JSON,
        "error": JSON,
        "symbol": JSON,
    },
)


@given(FRAMES)
def test_any_frame_parses_or_is_poison(frame: dict[str, Any]) -> None:
    try:
        parsed = parse_frame(json.dumps(frame), NOW)
    except PoisonError:
        return
    for trade in parsed.trades if isinstance(parsed, TradeFrame) else ():
        assert trade.price > 0 and trade.qty > 0 and 0 <= trade.trade_id < 2**63
    for quote in parsed.quotes if isinstance(parsed, QuoteFrame) else ():
        assert quote.bid > 0 and quote.ask > 0 and quote.bid_qty == quote.bid_qty


@given(st.binary(max_size=200) | st.text(max_size=200))
def test_any_bytes_parse_or_are_poison(text: bytes | str) -> None:
    with contextlib.suppress(PoisonError):
        parse_frame(text, NOW)


def rows_of(path: Path) -> list[dict[str, str]]:
    """The rows of a recording."""
    with path.open() as file:
        return list(csv.DictReader(file))


def test_trades_recorded_off_the_live_websocket(recordings: Recordings) -> None:
    rows = rows_of(recordings.ws_trades)
    items = [
        f'{{"symbol":"{r["symbol"]}","side":"{r["side"]}","price":{r["price"]},"qty":{r["qty"]},'
        f'"ord_type":"{r["ord_type"]}","trade_id":{r["trade_id"]},"timestamp":"{r["ts_event"]}"}}'
        for r in rows
    ]
    parsed = parse_frame(f'{{"channel":"trade","type":"update","data":[{",".join(items)}]}}', NOW)
    assert isinstance(parsed, TradeFrame) and len(parsed.trades) == len(rows) == recordings.rows["ws_trades"]
    for symbol in {trade.symbol for trade in parsed.trades}:
        ids = [trade.trade_id for trade in parsed.trades if trade.symbol == symbol]
        assert ids == list(range(ids[0], ids[0] + len(ids)))
    assert [t.price for t in parsed.trades] == [float(r["price"]) for r in rows]


def test_quotes_recorded_off_the_live_websocket(recordings: Recordings) -> None:
    rows = rows_of(recordings.ws_quotes)
    for row in rows:
        time = row.pop("timestamp").replace(" ", "T") + "Z"
        symbol = row.pop("symbol")
        body = ",".join(f'"{name}":{value}' for name, value in row.items())
        frame = f'{{"channel":"ticker","type":"update","data":[{{"symbol":"{symbol}",{body},"timestamp":"{time}"}}]}}'
        parsed = parse_frame(frame, NOW)
        assert isinstance(parsed, QuoteFrame)
        assert parsed.quotes[0].bid == float(row["bid"]) < parsed.quotes[0].ask == float(row["ask"])
