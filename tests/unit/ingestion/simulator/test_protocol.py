"""What the simulator understands and answers, and how its frames look on the wire."""

import doctest
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestion.kraken import ws_messages
from ingestion.simulator import protocol, wire
from ingestion.simulator.cursor import MarketCursor
from ingestion.simulator.market import Market, micros
from ingestion.simulator.protocol import ClientRequest, RefusedError, parse_request

NOW = datetime(2026, 11, 20, 13, 0, tzinfo=UTC)
MARKET = Market(42, 20, datetime(2026, 1, 1, tzinfo=UTC))
PAIR = MARKET.pairs["BTC/USD"]


@pytest.mark.parametrize("module", [protocol, wire])
def test_doctests(module: Any) -> None:
    result = doctest.testmod(module)
    assert result.attempted and result.failed == 0


def test_it_understands_our_own_requests() -> None:
    assert parse_request(ws_messages.subscribe("trade", ["BTC/USD", "ETH/USD"], 5)) == ClientRequest(
        "subscribe", 5, "trade", ("BTC/USD", "ETH/USD"), True, ""
    )
    assert parse_request(ws_messages.subscribe("ticker", ["BTC/USD"], 6)).trigger == "bbo"
    assert parse_request(ws_messages.subscribe("trade", ["BTC/USD"], 7, "unsubscribe")).method == "unsubscribe"
    assert parse_request(ws_messages.ping(8)) == ClientRequest("ping", 8)


def test_the_default_trigger_is_trades() -> None:
    text = '{"method":"subscribe","params":{"channel":"ticker","symbol":["BTC/USD"]}}'
    assert parse_request(text) == ClientRequest("subscribe", None, "ticker", ("BTC/USD",), True, "trades")


@pytest.mark.parametrize(
    ("message", "error"),
    [
        ("nonsense", "Malformed request"),
        ("[1]", "Malformed request"),
        ({"method": "subscribe"}, "Malformed request"),
        ({"method": "subscribe", "params": {"channel": "trade", "symbol": "BTC/USD"}}, "Malformed request"),
        ({"method": "subscribe", "params": {"channel": "trade", "symbol": []}}, "Malformed request"),
        ({"method": "add_order"}, "Unsupported event"),
        ({"method": "subscribe", "params": {"channel": "book", "symbol": ["BTC/USD"]}}, "Unsupported event"),
        ({"method": "subscribe", "params": {"channel": "level3"}}, protocol.NO_PRIVATE_DATA),
        ({"method": "ping", "params": None}, "Unsupported field: 'params' for the given msg type: ping"),
        (
            {"method": "subscribe", "params": {"channel": "trade", "symbol": ["BTC/USD"], "depth": 5}},
            "Unsupported field: 'depth' for the given msg type: subscribe",
        ),
    ],
)
def test_refusals_in_krakens_words(message: object, error: str) -> None:
    with pytest.raises(RefusedError) as caught:
        parse_request(message if isinstance(message, str) else json.dumps(message))
    assert caught.value.error == error
    text = protocol.refusal(error, caught.value.method, caught.value.req_id, 0, 0)
    parsed = ws_messages.parse_frame(text, NOW)
    assert isinstance(parsed, ws_messages.Rejection | ws_messages.BareError) and parsed.error == error


@given(st.recursive(st.none() | st.integers() | st.text(), lambda x: st.dictionaries(st.text(), x) | st.lists(x)))
def test_any_message_is_understood_or_refused(message: object) -> None:
    try:
        assert isinstance(parse_request(json.dumps(message)), ClientRequest)
    except RefusedError as error:
        assert error.error


def test_replies_are_those_that_our_parser_reads() -> None:
    request = ClientRequest("subscribe", 3, "ticker", ("BTC/USD",), True, "bbo")
    text = protocol.ack(request, "BTC/USD", 1_790_331_330_201_114, 1_790_331_330_201_160)
    assert ws_messages.parse_frame(text, NOW) == ws_messages.Ack("subscribe", "ticker", "BTC/USD", 3)
    assert json.loads(text) == {
        "method": "subscribe",
        "req_id": 3,
        "result": {"channel": "ticker", "event_trigger": "bbo", "snapshot": True, "symbol": "BTC/USD"},
        "success": True,
        "time_in": "2026-09-25T10:15:30.201114Z",
        "time_out": "2026-09-25T10:15:30.201160Z",
    }
    refusal = protocol.refusal("Already subscribed", "subscribe", None, 0, 0, "BTC/USD")
    assert ws_messages.parse_frame(refusal, NOW) == ws_messages.Rejection(
        "subscribe", "Already subscribed", "BTC/USD", None
    )
    assert ws_messages.parse_frame(protocol.pong(4, 0, 0), NOW) == ws_messages.Pong(4)
    assert ws_messages.parse_frame(protocol.status("online", 2**64 - 1), NOW) == ws_messages.Status("online", 2**64 - 1)
    assert ws_messages.parse_frame(wire.HEARTBEAT, NOW) == ws_messages.Heartbeat()


def test_trade_frames_carry_the_ledger() -> None:
    trades = MARKET.trades("BTC/USD", NOW, NOW + timedelta(minutes=2))
    timed = wire.trade_frames(PAIR, trades)
    parsed = [ws_messages.parse_frame(frame.text(), NOW) for _, frame in timed]
    got = [trade for frame in parsed if isinstance(frame, ws_messages.TradeFrame) for trade in frame.trades]
    ledger = trades.columns(PAIR)
    assert [t.trade_id for t in got] == ledger["trade_id"].tolist()
    assert [t.price for t in got] == ledger["price"].tolist()
    assert [t.qty for t in got] == ledger["qty"].tolist()
    assert [t.side for t in got] == ledger["side"].tolist()
    assert [micros(t.ts) for t in got] == trades.ts.tolist()
    assert len(timed) == len(np.unique(trades.ts)) < len(trades)  # fills of one instant travel together


def test_quote_frames_carry_the_ledger() -> None:
    quotes = MARKET.quotes("BTC/USD", NOW, NOW + timedelta(minutes=2))
    parsed = [ws_messages.parse_frame(frame.text(), NOW) for _, frame in wire.bbo_frames(PAIR, quotes)]
    got = [quote for frame in parsed if isinstance(frame, ws_messages.QuoteFrame) for quote in frame.quotes]
    ledger = quotes.columns(PAIR)
    for name in ("bid", "bid_qty", "ask", "ask_qty", "last", "volume", "vwap", "low", "high", "change", "change_pct"):
        assert [getattr(q, name) for q in got] == ledger[name].tolist(), name


def test_numbers_are_padded_as_krakens() -> None:
    trades = MARKET.trades("BTC/USD", NOW, NOW + timedelta(minutes=1))
    item = json.loads(wire.trade_items(PAIR, trades)[0], parse_float=str)
    assert len(item["price"].split(".")[1]) == 1 and len(item["qty"].split(".")[1]) == 8


def test_ticker_on_trades_has_the_quote_in_force() -> None:
    news = MarketCursor(MARKET, "BTC/USD", micros(NOW)).advance(micros(NOW) + 30_000_000)
    frames = wire.on_trade_frames(PAIR, news.trades, news.force)
    assert len(frames) == len(news.trades)
    last = json.loads(frames[-1][1].text())["data"][0]
    assert last["last"] == news.trades.price[-1] / 10
    force = np.searchsorted(news.quotes.ts, news.trades.ts[-1], "right") - 1
    assert last["bid"] == news.quotes.bid[force] / 10


@given(st.lists(st.integers(0, 5 * 60_000_000), max_size=12))
def test_a_tape_tells_everything_once_whatever_the_steps(steps: list[int]) -> None:
    start = micros(NOW) - 7
    tape = MarketCursor(MARKET, "ETH/USD", start)
    ends = [start + step for step in sorted(steps)] + [start + 6 * 60_000_000]
    news = [tape.advance(end) for end in ends]
    trades = MARKET.trades_between("ETH/USD", start, ends[-1])
    assert np.concatenate([n.trades.trade_id for n in news]).tolist() == trades.trade_id.tolist()
    quotes = MARKET.quotes_between("ETH/USD", start, ends[-1])
    assert np.concatenate([n.quotes.bid for n in news]).tolist() == quotes.bid.tolist()
    assert tape.next_us() >= ends[-1]
