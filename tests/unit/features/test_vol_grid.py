"""The engine's realised variances against the numpy definition in `tests.oracle.volatility`, itself tried by hand."""

import math
from datetime import timedelta

import numpy as np
import polars as pl
from hypothesis import given, settings

from features.engine import EngineConfig, EngineState, fold
from tests.oracle.volatility import (
    QUOTE,
    TRADE,
    UNKNOWN,
    price_grid,
    realised_variance,
    sample,
    span,
    squared_returns,
)
from tests.unit.features.frames import PACES, START, frame, gap, logs, quote, trade

NONE = (np.array([], np.int64), np.array([]))
SECOND = 1_000_000


def test_a_sample_is_the_last_value_at_or_before_the_point() -> None:
    times = np.array([10, 20, 20, 30]) * SECOND
    got = sample(times, np.array([1.0, 2.0, 3.0, math.nan]), np.array([9, 10, 19, 20, 29, 30]) * SECOND)
    np.testing.assert_array_equal(got, [math.nan, 1, 1, 3, 3, math.nan])


def test_a_value_is_forgotten_after_four_hours() -> None:
    points = np.array([4 * 3600 * SECOND, 4 * 3600 * SECOND + 1])
    np.testing.assert_array_equal(sample(np.array([0]), np.array([5.0]), points), [5.0, math.nan])


def test_the_mid_goes_before_the_trade_and_a_change_of_kind_is_no_return() -> None:
    trades = (np.array([1, 11, 21]) * SECOND, np.array([100.0, 101.0, 102.0]))
    quotes = (np.array([6, 16]) * SECOND, np.array([99.0, math.nan]))
    grid = price_grid(trades, quotes, 0, 5, 5)
    assert grid.kind.tolist() == [UNKNOWN, TRADE, QUOTE, QUOTE, TRADE, TRADE]
    expected = [math.nan, 0, 0, 0, 0, math.log(102 / 101) ** 2]
    np.testing.assert_allclose(squared_returns(grid), expected, rtol=1e-12)


def test_spans_add_up() -> None:
    r2 = np.arange(100.0)
    whole = realised_variance(r2, 0, 7 * SECOND, 407 * SECOND, 5)
    parts = [realised_variance(r2, 0, a * SECOND, (a + 100) * SECOND, 5) for a in (7, 107, 207, 307)]
    assert whole == sum(parts) == sum(range(2, 82))
    assert span(0, 10 * SECOND, 5) == (1, 2)
    assert math.isnan(realised_variance(r2, 0, 400 * SECOND, 500 * SECOND, 5))
    assert math.isnan(realised_variance(r2, 0, 1, 2, 5))


@settings(max_examples=40)
@given(logs(size=60, paces=PACES[1:]))
def test_the_engine_follows_the_definition(events: pl.DataFrame) -> None:
    events = events.filter(pl.col("type") != "gap", pl.col("symbol") == "BTC/USD")
    rows = fold(EngineState.empty(EngineConfig()), events)[1]
    for row in rows[-1:].iter_rows(named=True):
        sides = []
        for kind, value in (("trade", pl.col("price")), ("quote", (pl.col("bid") + pl.col("ask")) / 2)):
            part = events.filter(pl.col("type") == kind, pl.col("seq") <= row["seq"]).sort("ts", maintain_order=True)
            sides.append((part["ts"].to_physical().to_numpy(), part.select(value).to_series().to_numpy()))
        t = round(row["ts"].timestamp() * 1e6)
        first = t // (5 * SECOND) - 1000
        r2 = squared_returns(price_grid(sides[0], sides[1], first, t // (5 * SECOND), 5))
        for window, seconds in (("10s", 10), ("1m", 60), ("5m", 300)):
            if not math.isnan(row[f"rv_{window}"]):
                truth = realised_variance(r2, first, t - seconds * SECOND, t, 5)
                assert math.isclose(row[f"rv_{window}"], truth, rel_tol=1e-9)


def test_a_quote_gap_makes_no_artificial_return() -> None:
    events = [trade(START, 90.0), quote(START, 99.0, 101.0)]
    events += [quote(START + timedelta(seconds=s), 99.0, 101.0) for s in range(1, 60)]
    events += [gap(START + timedelta(seconds=60), "ticker")]
    events += [trade(START + timedelta(seconds=s), 90.0) for s in range(61, 120)]
    events += [quote(START + timedelta(seconds=s), 99.0, 101.0) for s in range(120, 180)]
    rows = fold(EngineState.empty(EngineConfig()), frame(events))[1]
    assert rows["rv_1m"].fill_nan(0).max() == 0
    assert rows["rv_1m"].is_not_nan().any()
    assert rows.filter(pl.col("ts").is_between(events[62]["ts"], events[119]["ts"]))["mid"].is_nan().all()
    assert rows["mid"][-1] == 100.0
