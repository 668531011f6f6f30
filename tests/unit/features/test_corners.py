"""Corners of `features.engine`, each by an example small enough to check by hand."""

from datetime import timedelta
from typing import Any

import polars as pl
import pytest

from features.engine import EngineConfig, EngineState, fold
from features.spec import NAMES, ROW_COLUMNS
from tests.unit.features.frames import START, frame, gap, quote, trade

EVERY = EngineConfig(interval_ms=0)


def at(seconds: float) -> Any:
    """A time on the tests' clock."""
    return START + timedelta(seconds=seconds)


def rows_of(events: list[Any], config: EngineConfig = EVERY) -> pl.DataFrame:
    """The rows that the events cause."""
    return fold(EngineState.empty(config), frame(events))[1]


def steady(until: int, step: int = 60, price: float = 100.0, first_id: int = 1) -> list[Any]:
    """A trade every ``step`` seconds up to ``until``, with dense ids."""
    return [trade(at(s), price, first_id + i) for i, s in enumerate(range(0, until + 1, step))]


def test_no_events_make_no_rows() -> None:
    state, rows = fold(EngineState.empty(EVERY), frame([]))
    assert rows.height == 0
    assert rows.columns == [*ROW_COLUMNS, *NAMES]
    assert rows.schema == rows_of(steady(60)).schema
    assert state.books == {}


def test_a_row_comes_with_the_first_event_of_each_new_interval() -> None:
    times = (0.1, 0.2, 0.9, 1.0, 5.5, 4.9, 5.6, 6.0)
    rows = rows_of([trade(at(s), 100.0, i + 1) for i, s in enumerate(times)], EngineConfig(interval_ms=1000))
    assert rows["seq"].to_list() == [0, 3, 4, 7]


def test_every_event_in_order_makes_a_row_at_interval_0_and_a_gap_makes_none() -> None:
    events = [trade(at(1), 1.0, 1), quote(at(1), 1.0, 2.0), gap(at(2), "ticker"), trade(at(0), 1.0, 2)]
    assert rows_of([*events, trade(at(1), 1.0, 3)])["seq"].to_list() == [0, 1, 4]


def test_constant_prices_have_no_variance_at_all() -> None:
    rows = rows_of([trade(at(s / 7), 0.1 + 0.2, s + 1) for s in range(30_000)])
    assert rows["std_1h"].drop_nans().len() > 0
    for name in ("std_10s", "std_1h", "rv_1h", "ret_1h", "momentum_1h", "range_bps_1h"):
        assert rows[name].drop_nans().unique().to_list() == [0.0], name


def test_variance_survives_a_large_price_and_an_outlier() -> None:
    prices = [1e9 + (0.25 if i % 2 else -0.25) for i in range(3600)]
    rows = rows_of([trade(at(i), p, i + 1) for i, p in enumerate([*prices, 1e9 + 1e6])])
    n = rows["trades_15m"][-2]
    assert rows["std_15m"][-2] == pytest.approx(0.25, rel=1e-9)
    mean = 1e6 / n
    exact = (((n - 1) * (0.25**2 + mean**2) + (1e6 - mean) ** 2) / n) ** 0.5
    assert rows["std_15m"][-1] == pytest.approx(exact, rel=1e-9)


def test_a_late_trade_counts_in_later_rows_only() -> None:
    events = [trade(at(0), 100.0, 1), trade(at(70), 100.0, 2), trade(at(65), 90.0, 3), trade(at(71), 100.0, 4)]
    rows = rows_of(events)
    assert rows["seq"].to_list() == [0, 1, 3]
    assert rows["trades_10s"].to_list()[1:] == [1, 3]
    assert rows["min_1m"].to_list()[1:] == [100, 90]
    assert rows["last"].to_list() == [100, 100, 100]


def test_windows_are_open_on_the_old_side() -> None:
    rows = rows_of([trade(at(0), 100.0, 1), trade(at(5), 110.0, 2), trade(at(15), 120.0, 3)])
    assert rows["trades_10s"][-1] == 1
    assert rows["ret_10s"][-1] == pytest.approx(0.08701137698962981)


def test_a_hole_makes_rows_incomplete_until_it_is_refilled() -> None:
    events = [*steady(4000, 10), trade(at(4010), 100.0, 405)]
    refill = [trade(at(4005), 100.0, i) for i in (403, 402, 404)]
    complete = rows_of([*events, *refill[:2], trade(at(4011), 1.0, 406), refill[2], trade(at(4012), 1.0, 407)])
    assert complete["complete"].to_list()[-4:] == [True, False, False, True]


def test_a_hole_left_open_is_forgotten_with_the_last_hour() -> None:
    events = [*steady(4000, 10), trade(at(4010), 100.0, 405)]
    events += [trade(at(4010 + 10 * i), 100.0, 405 + i) for i in range(1, 400)]
    complete = rows_of(events).filter(pl.col("complete"))["ts"].to_list()
    assert at(4000) in complete
    assert min(t for t in complete if t > at(4000)) == at(4010 + 3600 + 10)


def test_ids_say_nothing_for_sparse_symbols_but_silence_does() -> None:
    sparse = EngineConfig(0, 5, 100.0, frozenset({"BTC/USD"}))
    events = [trade(at(60 * i), 100.0, 7 * i + 1) for i in range(70)]
    assert rows_of(events, sparse)["complete"][-1]
    assert not rows_of(events)["complete"][-1]
    del events[30:32]
    assert not rows_of(events, sparse)["complete"][-1]


def test_a_quote_gap_voids_the_quote_until_the_next_one_and_spoils_an_hour() -> None:
    events = [trade(at(0), 100.0, 1), *(quote(at(s), 99.0, 101.0) for s in range(0, 4000, 10))]
    events += [gap(at(3995), "ticker"), trade(at(4000), 100.0, 2), quote(at(3989), 98.0, 102.0)]
    events += [quote(at(s), 98.0, 102.0) for s in range(4010, 8000, 10)]
    rows = rows_of(events)
    assert rows["complete"].to_list()[400:402] == [True, False]
    assert rows["bid"].to_list()[400:403] == pytest.approx([99.0, float("nan"), 98.0], nan_ok=True)
    after = rows.filter(pl.col("complete") & (pl.col("ts") > at(4000)))
    assert after["ts"][0] == at(3990 + 3600 + 10), "out of sight until 3990; the first return begins a step earlier"


def test_a_trade_gap_of_a_dense_symbol_is_settled_by_the_next_id() -> None:
    events = [quote(at(3999), 1.0, 2.0), *steady(4000, 10), gap(at(4001), "trade")]
    calm = [trade(at(4020), 100.0, 402), trade(at(4030), 100.0, 403)]
    known = [e for e in events if e["type"] != "quote"]
    assert rows_of([*known, *calm])["complete"].to_list()[-3:] == [True, True, True]
    quotes = [quote(at(s), 1.0, 2.0) for s in range(0, 4000, 10)]
    both = sorted([*known[:-1], *quotes], key=lambda e: e["ts"])
    assert not rows_of([*both, gap(at(4001), "trade"), quote(at(4002), 1.0, 2.0)])["complete"][-1]


def test_what_was_not_heard_of_for_four_hours_is_not_known() -> None:
    rows = rows_of([quote(at(0), 1.0, 2.0), trade(at(1), 1.5, 1), trade(at(4 * 3600 + 0.5), 1.5, 2)])
    assert rows["bid"].to_list() == pytest.approx([1.0, 1.0, float("nan")], nan_ok=True)
    assert rows_of([*steady(60), trade(at(5 * 3600), 1.0, 3)])["trades_10s"].is_nan().to_list()[-2:] == [False, True]


def test_dropping_a_symbol_forgets_it_alone() -> None:
    state, _ = fold(EngineState.empty(EVERY), frame([trade(at(0), 1.0, 1), trade(at(0), 1.0, 1, symbol="ETH/USD")]))
    state.drop("BTC/USD")
    state.drop("never heard of")
    assert list(state.books) == ["ETH/USD"]


def test_memory_is_bounded_by_an_hour_of_trades() -> None:
    state = EngineState.empty(EngineConfig(interval_ms=60_000))
    sizes = []
    for hour in range(6):
        events = [trade(at(3600 * hour + s), 100.0, 3600 * hour + s + 1) for s in range(3600)]
        state, _ = fold(state, frame(events))
        sizes.append(len(state.books["BTC/USD"].raw))
    assert sizes[2:] == [sizes[2]] * 4
    assert sizes[2] < 4 * 4096


def test_an_unknown_type_is_refused() -> None:
    with pytest.raises(pl.exceptions.PolarsError):
        rows_of([trade(at(0), 1.0, 1, type="order")])
