"""The simulated REST API: the WebSocket's trades a little later, Kraken's envelope, paging, throttle and cache."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingestion.kraken.rest_messages import ThrottledError, parse_result, parse_trades_page
from ingestion.simulator.blocks import last_trades
from ingestion.simulator.market import Market, micros
from ingestion.simulator.rest import RestApi, Throttle, rest_times
from lakehouse.errors import FatalError

GENESIS = datetime(2026, 1, 1, tzinfo=UTC)
NOW = datetime(2026, 11, 20, 13, 0, 30, tzinfo=UTC)
MARKET = Market(42, 20, GENESIS)
PAIR = MARKET.pairs["BTC/USD"]


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.us = micros(NOW)

    def __call__(self) -> int:
        return self.us


def api(clock: Callable[[], int] | None = None, burst: float = 30) -> RestApi:
    """The API at a fixed time."""
    return RestApi(MARKET, clock or Clock(), lambda: "online", burst)


def get(rest: RestApi, url: str) -> Any:
    """The result of a call."""
    return parse_result(rest.answer(f"/0/public/{url}")[0])


def test_trades_are_those_of_the_ledger() -> None:
    result = get(api(), "Trades?pair=XBTUSD&count=200")
    assert list(result) == ["XXBTZUSD", "last"]
    ledger = last_trades(MARKET, "BTC/USD", micros(NOW), 200).columns(PAIR)
    rows = result["XXBTZUSD"]
    assert [row[6] for row in rows] == ledger["trade_id"].tolist()
    assert [float(row[0]) for row in rows] == ledger["price"].tolist()
    assert [float(row[1]) for row in rows] == ledger["qty"].tolist()
    assert [row[3] for row in rows] == [side[0] for side in ledger["side"]]
    assert [row[4] for row in rows] == [kind[0] for kind in ledger["ord_type"]]
    assert all(len(row[0].split(".")[1]) == 5 and row[5] == "" for row in rows)


def test_times_are_a_microsecond_late_with_seven_decimals() -> None:
    body = api().answer("/0/public/Trades?pair=XBTUSD")[0].decode()
    rows = json.loads(body, parse_float=str)["result"]["XXBTZUSD"]
    ts = last_trades(MARKET, "BTC/USD", micros(NOW), 1000).ts
    late = np.array([int(row[2].replace(".", "")) for row in rows]) - ts * 10  # in units of 0.1 µs
    assert late.min() >= 7 and late.max() <= 11 and len(set(late.tolist())) == 5
    assert np.all(np.diff(rest_times(ts)) >= 0)


def test_pages_reach_from_genesis_to_now_and_repeat_the_boundary() -> None:
    clock = Clock()
    clock.us = micros(GENESIS) + 20 * 60_000_000
    rest, since = api(clock), "0"
    ids: list[int] = []
    while True:
        page = parse_trades_page(rest.answer(f"/0/public/Trades?pair=XBTUSD&since={since}")[0], "BTC/USD", NOW)
        if ids:
            assert page.trades[0].trade_id <= ids[-1]  # `since` includes the boundary
        ids += [trade.trade_id for trade in page.trades if not ids or trade.trade_id > ids[-1]]
        if str(page.last) == since or len(page.trades) < 1000:
            break
        since = str(page.last)
    assert ids == list(range(1, len(MARKET.trades_between("BTC/USD", 0, clock.us)) + 1))
    assert len(ids) > 3000


@settings(max_examples=30)
@given(st.integers(0, 29_999_999_999))
def test_since_in_ns_is_inclusive_to_the_ns(back: int) -> None:
    since = micros(NOW) * 1000 - back
    trades = MARKET.trades_between("BTC/USD", micros(NOW) - 31_000_000, micros(NOW))
    expected = trades.trade_id[rest_times(trades.ts) >= since].tolist()
    rows = get(api(), f"Trades?pair=XBTUSD&since={since}")["XXBTZUSD"]
    assert [row[6] for row in rows] == expected
    if rows:
        last = get(api(), f"Trades?pair=XBTUSD&since={since}")["last"]
        again = get(api(), f"Trades?pair=XBTUSD&since={last}")["XXBTZUSD"]
        assert again[-1] == rows[-1]


def test_since_in_seconds() -> None:
    whole = get(api(), f"Trades?pair=XBTUSD&since={int(NOW.timestamp()) - 10}")["XXBTZUSD"]
    part = get(api(), f"Trades?pair=XBTUSD&since={int(NOW.timestamp()) - 10}.5")["XXBTZUSD"]
    ns = get(api(), f"Trades?pair=XBTUSD&since={int(NOW.timestamp()) - 10}500000000")["XXBTZUSD"]
    assert part == ns and len(whole) > len(part) > 0
    future = get(api(), f"Trades?pair=XBTUSD&since={int(NOW.timestamp()) + 10}")
    assert future == {"XXBTZUSD": [], "last": f"{int(NOW.timestamp()) + 10}000000000"}


def test_nothing_that_is_still_to_come() -> None:
    clock = Clock()
    first = get(api(clock), "Trades?pair=XBTUSD")["XXBTZUSD"][-1][6]
    clock.us += 60_000_000
    assert get(api(clock), "Trades?pair=XBTUSD")["XXBTZUSD"][-1][6] > first


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("Trades", "EGeneral:Invalid arguments"),
        ("Trades?pair=NOPE", "EQuery:Unknown asset pair"),
        ("Trades?pair=xbtusd", "EQuery:Unknown asset pair"),
        ("Trades?pair=XBTUSD&count=0", "EGeneral:Invalid arguments:count"),
        ("Trades?pair=XBTUSD&count=1001", "EGeneral:Invalid arguments:count"),
        ("Trades?pair=XBTUSD&count=²", "EGeneral:Invalid arguments:count"),
        ("Trades?pair=XBTUSD&since=yesterday", "EGeneral:Invalid arguments:since"),
        ("Trades?pair=XBTUSD&since=-1", "EGeneral:Invalid arguments:since"),
        ("Trades?pair=XBTUSD&since=NaN", "EGeneral:Invalid arguments:since"),
        ("Trades?pair=XBTUSD&since=99999999999999999999", "EGeneral:Invalid arguments:since"),
        ("OHLC?pair=XBTUSD", "EGeneral:Unknown method"),
        ("Ticker?pair=XBTUSD,NOPE", "EQuery:Unknown asset pair"),
    ],
)
def test_errors_in_krakens_words(url: str, error: str) -> None:
    body, outcome = api().answer(f"/0/public/{url}")
    assert json.loads(body) == {"error": [error]} and outcome == error
    with pytest.raises(FatalError, match=error):
        parse_result(body)


def test_a_burst_passes_then_the_throttle_then_silence_clears_it() -> None:
    clock = Clock()
    rest = api(clock)
    ago = micros(NOW) * 1000 - 10**9
    for n in range(30):
        get(rest, f"Trades?pair=XBTUSD&since={ago + n}")
    with pytest.raises(ThrottledError, match="EGeneral:Too many requests"):
        get(rest, f"Trades?pair=XBTUSD&since={ago + 30}")
    get(rest, "Trades?pair=ETHUSD")  # per pair
    get(rest, "Time")
    clock.us += 31_000_000
    get(rest, f"Trades?pair=XBTUSD&since={ago + 31}")


def test_one_call_a_second_is_never_throttled() -> None:
    throttle = Throttle(30)
    assert all(throttle.allows("a", n * 1_000_000) for n in range(1000))
    eager = Throttle(30)
    assert sum(eager.allows("a", n * 200_000) for n in range(1000)) < 400


def test_the_same_url_is_cached_for_two_seconds() -> None:
    clock = Clock()
    rest = api(clock)
    first, outcome = rest.answer("/0/public/Trades?pair=XBTUSD")
    clock.us += 1_900_000
    assert outcome == "ok" and rest.answer("/0/public/Trades?pair=XBTUSD") == (first, "cached")
    clock.us += 200_000
    body, outcome = rest.answer("/0/public/Trades?pair=XBTUSD")
    assert outcome == "ok" and body != first


def test_the_other_methods() -> None:
    rest = api()
    assert get(rest, "Time") == {"unixtime": int(NOW.timestamp()), "rfc1123": "Fri, 20 Nov 26 13:00:30 +0000"}
    assert get(rest, "SystemStatus")["status"] == "online"
    pairs = get(rest, "AssetPairs")
    assert set(pairs) == {pair.rest_key for pair in MARKET.pairs.values()}
    assert pairs["XXBTZUSD"]["wsname"] == "XBT/USD" and pairs["XXBTZUSD"]["pair_decimals"] == 1
    assert list(get(rest, "AssetPairs?pair=ETHUSD")) == ["XETHZUSD"]
    ticker = get(rest, "Ticker?pair=XBTUSD")["XXBTZUSD"]
    assert float(ticker["b"][0]) < float(ticker["a"][0]) and set(ticker) == set("abcvptlho")
    quote = MARKET.quotes("BTC/USD", NOW - timedelta(minutes=1), NOW)
    assert float(ticker["b"][0]) == quote.bid[-1] / 10
