"""Kraken's REST pages: envelope, errors and what to do about them, rows, and paging."""

import csv
import doctest
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestion.kraken import rest_messages
from ingestion.kraken.rest_messages import (
    ThrottledError,
    classify,
    parse_result,
    parse_trades_page,
    refused,
)
from ingestion.simulator.pairs import PAIRS
from lakehouse import symbols
from lakehouse.errors import FatalError, LakeError, RetryableError
from lakehouse.symbols import check_symbol, rest_pair, symbol_of
from tests.support.recordings import Recordings

NOW = datetime(2026, 9, 25, 10, 15, 32, tzinfo=UTC)
ROW: list[Any] = ["64249.90000", "0.01250000", 1790331321.0045187, "s", "m", "", 91234567]


def page(*rows: object, last: object = "1790331321004518700") -> bytes:
    """An answer of Trades."""
    return json.dumps({"error": [], "result": {"XXBTZUSD": list(rows), "last": last}}).encode()


def test_doctests() -> None:
    for module, least in ((rest_messages, 3), (symbols, 4)):
        result = doctest.testmod(module)
        assert result.attempted >= least and result.failed == 0


@pytest.mark.parametrize("symbol", sorted(PAIRS))
def test_names_map_both_ways(symbol: str) -> None:
    assert rest_pair(symbol) == PAIRS[symbol].altname
    assert symbol_of(PAIRS[symbol].altname) == symbol_of(PAIRS[symbol].wsname) == symbol_of(symbol) == symbol


@pytest.mark.parametrize("pair", ["", "USD", "ABCXYZ", "/USD", "BTC/"])
def test_a_pair_without_a_known_quote_is_an_error_with_a_remedy(pair: str) -> None:
    with pytest.raises(FatalError, match="BTC/USD"):
        symbol_of(pair)


@pytest.mark.parametrize("symbol", [*sorted(PAIRS), "BTC/JPY", "ABC/XYZ", "1INCH/USD", "B.S/USD", "AAPLx/USD"])
def test_symbols_as_the_lake_writes_them_pass(symbol: str) -> None:
    check_symbol(symbol)


@pytest.mark.parametrize(
    ("symbol", "hint"),
    [
        ("XBT/USD", "did you mean BTC/USD"),
        ("btc/usd", "did you mean BTC/USD"),
        ("ETHUSD", "did you mean ETH/USD"),
        ("XDGEUR", "did you mean DOGE/EUR"),
        ("sol-usd", "did you mean SOL/USD"),
        ("BTC/USD\n", "did you mean BTC/USD"),
        ("BTC", r"\(BTC/USD\)$"),
        ("", r"\(BTC/USD\)$"),
        ("A/B/C", r"\(BTC/USD\)$"),
    ],
)
def test_another_spelling_is_refused_with_a_suggestion(symbol: str, hint: str) -> None:
    with pytest.raises(FatalError, match=hint):
        check_symbol(symbol)


def test_a_page() -> None:
    result = parse_trades_page(page(ROW), "BTC/USD", NOW)
    trade = result.trades[0]
    assert (trade.symbol, trade.trade_id, trade.price, trade.qty) == ("BTC/USD", 91234567, 64249.9, 0.0125)
    assert (trade.side, trade.ord_type, trade.source) == ("sell", "market", "rest")
    assert trade.ts == datetime(2026, 9, 25, 10, 15, 21, 4519, tzinfo=UTC)
    assert result.last == 1790331321004518700 and not result.bad


def test_last_falls_back_to_the_last_row() -> None:
    body = json.dumps({"error": [], "result": {"XXBTZUSD": [ROW]}}).encode()
    last = parse_trades_page(body, "BTC/USD", NOW).last
    # Its trade may have happened 50 ns before the seven decimals, which are rounded, and must come again.
    assert last is not None and 1790331321004518650 - 2000 <= last < 1790331321004518650
    broken = json.dumps({"error": [], "result": {"XXBTZUSD": [ROW, [*ROW[:2], ROW[2] + 1, *ROW[3:6], None]]}}).encode()
    assert parse_trades_page(broken, "BTC/USD", NOW).last == last + 10**9
    empty = json.dumps({"error": [], "result": {"XXBTZUSD": []}}).encode()
    assert parse_trades_page(empty, "BTC/USD", NOW).last is None


@pytest.mark.parametrize("place", [0, 1, 2, 3, 6])
def test_a_bad_row_is_set_apart_and_the_rest_kept(place: int) -> None:
    bad = ROW.copy()
    bad[place] = None
    result = parse_trades_page(page(ROW, bad, [*ROW[:6], 91234568]), "BTC/USD", NOW)
    assert [trade.trade_id for trade in result.trades] == [91234567, 91234568]
    assert json.loads(result.bad[0].payload) == bad
    assert result.bad[0].error.reason in ("bad row", "bad trade")


def test_rows_without_an_id_are_set_apart_and_not_taken_for_one_trade() -> None:
    result = parse_trades_page(page([*ROW[:6], 0], ROW, [*ROW[:6], 0]), "BTC/USD", NOW)
    assert [trade.trade_id for trade in result.trades] == [91234567]
    assert [bad.error.reason for bad in result.bad] == ["no_trade_id"] * 2


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ("EGeneral:Too many requests", ThrottledError),
        ("EAPI:Rate limit exceeded", ThrottledError),
        ("EGeneral:Temporary lockout", ThrottledError),
        ("EService:Throttled: 1790331400", ThrottledError),
        ("EService:Unavailable", RetryableError),
        ("EService:Busy", RetryableError),
        ("EService:Market in cancel_only mode", RetryableError),
        ("EGeneral:Internal error", RetryableError),
        ("EGeneral:Unknown error", RetryableError),
        ("EDatabase:Internal error", RetryableError),
        ("EQuery:Unknown asset pair", FatalError),
        ("EGeneral:Invalid arguments", FatalError),
    ],
)
def test_errors_carry_what_to_do(error: str, kind: type[LakeError]) -> None:
    with pytest.raises(kind, match=error.split(":")[1].split()[0]) as caught:
        parse_result(json.dumps({"error": [error]}).encode())
    assert type(caught.value) is kind


def test_throttled_tells_until_when() -> None:
    error = classify(["EService:Throttled: 1790331400"])
    assert isinstance(error, ThrottledError) and error.retry_at == datetime.fromtimestamp(1790331400, UTC)
    unknown = classify(["EGeneral:Too many requests"])
    assert isinstance(unknown, ThrottledError) and unknown.retry_at is None


@pytest.mark.parametrize("text", ["EService: Throttled: 1790331400", "EService : Throttled : 1790331400"])
def test_blanks_around_colons_change_nothing(text: str) -> None:
    error = classify([text])
    assert isinstance(error, ThrottledError) and error.retry_at == datetime.fromtimestamp(1790331400, UTC)
    assert isinstance(classify(["EGeneral: Too many requests"]), ThrottledError)
    assert isinstance(classify(["EQuery: Unknown asset pair"]), FatalError)
    assert type(classify(["ENovel: Never heard of"])) is RetryableError


@pytest.mark.parametrize("header", ["90", "Fri, 25 Sep 2026 10:17:02 GMT"])
def test_retry_after_is_kept(header: str) -> None:
    error = refused(503, "busy", header, NOW)
    assert isinstance(error, ThrottledError) and error.retry_at == NOW + timedelta(seconds=90)
    assert type(refused(520, "<html>\n</html>", "soon", NOW)) is RetryableError
    assert isinstance(refused(429, "", "", NOW), ThrottledError)


def test_warnings_are_no_errors() -> None:
    assert parse_result(b'{"error":["WGeneral:Something"],"result":{"a":1}}') == {"a": 1}


@pytest.mark.parametrize("body", [b"<html>520</html>", b"", b"[]", b'{"result":{}}', b'{"error":[],"result":null}'])
def test_what_is_not_the_envelope_is_retried(body: bytes) -> None:
    with pytest.raises(RetryableError):
        parse_result(body)


def test_a_result_without_one_list_is_retried() -> None:
    results: list[dict[str, object]] = [{"last": "1"}, {"A": [], "B": []}, {"A": {}}]
    for result in results:
        with pytest.raises(RetryableError):
            parse_trades_page(json.dumps({"error": [], "result": result}).encode(), "BTC/USD", NOW)


ANYTHING: st.SearchStrategy[Any] = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)


@given(st.lists(st.lists(ANYTHING | st.sampled_from(ROW), max_size=9) | ANYTHING, max_size=5), ANYTHING)
def test_any_rows_are_trades_or_set_apart(rows: list[Any], last: Any) -> None:
    try:
        result = parse_trades_page(page(*rows, last=last), "BTC/USD", NOW)
    except RetryableError:  # JSON has no NaN
        return
    assert len(result.trades) + len(result.bad) == len(rows)


def test_a_recorded_page(recordings: Recordings) -> None:
    with recordings.rest_trades.open() as file:
        records = list(csv.DictReader(file))
    rows = ",".join(
        f'["{r["price"]}","{r["amount"]}",{r["time"]},"{r["side"]}","{r["type"]}","{r["misc"]}",{r["id"]}]'
        for r in records
    )
    body = f'{{"error":[],"result":{{"XBTUSDT":[{rows}],"last":"1762800000000000000"}}}}'.encode()
    result = parse_trades_page(body, "BTC/USDT", NOW)
    assert len(result.trades) == len(records) == recordings.rows["rest_trades"] and not result.bad
    for trade, record in zip(result.trades, records, strict=True):
        assert abs(trade.ts - datetime.fromisoformat(record["ts"])) <= timedelta(microseconds=1)
        assert (trade.trade_id, trade.price) == (int(record["id"]), float(record["price"]))
