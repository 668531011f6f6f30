"""Replayed recordings: every row once, in time, with dense ids that go on when the file begins anew."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from ingestion.simulator.blocks import last_quote, last_trades
from ingestion.simulator.replay import Replay
from lakehouse.errors import FatalError
from tests.support.recordings import Recordings

BEGIN = datetime(2018, 1, 20, 15, tzinfo=UTC)
ANCHOR = 1_790_000_000_000_000
TRADES = pl.DataFrame(
    {
        "ts": [BEGIN + timedelta(seconds=s) for s in (0, 10, 10, 40)],
        "price": [100.5, 101.0, 100.25, 100.25],
        "qty": [1.0, 0.5, 2.0, 0.001],
        "side": ["buy", None, None, None],
    }
)
QUOTES = pl.DataFrame(
    {
        "ts": [BEGIN + timedelta(seconds=s) for s in (-20, 5, 39)],
        "bid": [100.0, 100.25, 100.0],
        "bid_qty": [1.0, 0.0, 3.0],
        "ask": [100.5, 100.25, 101.0],
        "ask_qty": [1.0, 2.0, 3.0],
    }
)


def test_rows_are_moved_to_the_anchor() -> None:
    replay = Replay(TRADES, QUOTES, "ABC/USD", ANCHOR)
    trades = replay.trades_between("ABC/USD", ANCHOR, ANCHOR + 60_000_001)
    assert trades.trade_id.tolist() == [1, 2, 3, 4]
    assert (trades.ts - ANCHOR).tolist() == [20_000_000, 30_000_000, 30_000_000, 60_000_000]
    columns = trades.columns(replay.pairs["ABC/USD"])
    assert columns["price"].tolist() == TRADES["price"].to_list() and columns["qty"].tolist() == TRADES["qty"].to_list()
    assert columns["side"].tolist() == ["buy", "buy", "sell", "sell"]  # by the tick rule where it is not known


def test_quotes_have_the_figures_of_the_trades_before_them() -> None:
    replay = Replay(TRADES, QUOTES, "ABC/USD", ANCHOR)
    quotes = pl.DataFrame(
        replay.quotes_between("ABC/USD", ANCHOR, ANCHOR + 60_000_000).columns(replay.pairs["ABC/USD"])
    )
    assert quotes["bid"].to_list() == QUOTES["bid"].to_list() and quotes["ask_qty"].to_list() == [1.0, 2.0, 3.0]
    assert quotes["last"].to_list() == [100.0, 100.5, 100.25]
    assert quotes["trades"].to_list() == [0, 1, 3] and quotes["volume"].to_list() == [0.0, 1.0, 3.5]
    assert quotes["high"].to_list() == [100.0, 100.5, 101.0] and quotes["low"].to_list() == [100.0, 100.5, 100.25]
    assert quotes["change"].to_list() == [0.0, 0.0, -0.25]


def test_speed_presses_time_together() -> None:
    replay = Replay(TRADES, None, "ABC/USD", ANCHOR, speed=10)
    assert (replay.trades_between("ABC/USD", 0, ANCHOR + 4_000_001).ts - ANCHOR).tolist() == [0, 1e6, 1e6, 4e6]


def test_it_begins_anew_with_ids_going_on() -> None:
    replay = Replay(TRADES, QUOTES, "ABC/USD", ANCHOR)
    trades = replay.trades_between("ABC/USD", ANCHOR, ANCHOR + 200_000_000)
    assert np.all(np.diff(trades.trade_id) == 1) and np.all(np.diff(trades.ts) >= 0) and len(trades) > 10
    assert trades.price[4:8].tolist() == trades.price[:4].tolist()
    for cut in range(0, 200_000_000, 7_000_000):
        parts = [(ANCHOR, ANCHOR + cut), (ANCHOR + cut, ANCHOR + 200_000_000)]
        ids = np.concatenate([replay.trades_between("ABC/USD", a, b).trade_id for a, b in parts])
        assert np.array_equal(ids, trades.trade_id)


def test_before_the_anchor_there_is_nothing() -> None:
    replay = Replay(TRADES, None, "ABC/USD", ANCHOR)
    assert len(last_trades(replay, "ABC/USD", ANCHOR, 50)) == 0
    assert len(last_trades(replay, "ABC/USD", ANCHOR + 10**9, 6)) == 6
    assert len(last_quote(replay, "ABC/USD", ANCHOR + 10**9)) == 0  # no quotes recorded, none invented


@pytest.mark.parametrize(
    ("trades", "message"),
    [
        (TRADES.drop("qty"), "no column qty"),
        (TRADES.with_columns(price=pl.lit(None, pl.Float64)), "4 invalid rows"),
        (TRADES.with_columns(price=pl.when(pl.col("price") > 100.9).then(-1.0).otherwise(5.0)), "'row': 1"),
        (TRADES.head(0), "no rows"),
        (TRADES.with_columns(ts=pl.lit("yesterday")), "file of trades needs ts as datetimes .*ts String"),
        (TRADES.with_columns(price=pl.lit("much")), "file of trades needs .* numbers, .*price String"),
    ],
)
def test_what_is_no_recording_is_refused_with_the_row(trades: pl.DataFrame, message: str) -> None:
    with pytest.raises(FatalError, match=message):
        Replay(trades, None, "ABC/USD", ANCHOR)


def test_real_recordings(recordings: Recordings) -> None:
    trades = pl.read_parquet(recordings.trades)
    quotes = pl.read_parquet(recordings.quotes)
    replay = Replay(trades, quotes, "BTC/USD", ANCHOR)
    pair = replay.pairs["BTC/USD"]
    assert pair.price_digits in (1, 2) and pair.altname == "XBTUSD"
    day = 26 * 3_600_000_000
    got = replay.trades_between("BTC/USD", ANCHOR, ANCHOR + day).columns(pair)
    assert got["price"][: len(trades)].tolist() == trades["price"].to_list()
    bids = replay.quotes_between("BTC/USD", ANCHOR, ANCHOR + day).columns(pair)["bid"]
    assert bids[: len(quotes)].tolist() == quotes["bid"].to_list()
