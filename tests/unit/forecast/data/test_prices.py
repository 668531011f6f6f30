"""However a symbol's events are cut into pieces and thinned, every row gets the same truth."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from forecast.data import prices
from forecast.data.dataset import price_path
from forecast.model.targets import MICROS, Times, Truth, truth
from lakehouse.messages import EVENT_SCHEMA

START = datetime(2026, 1, 5, 12, tzinfo=UTC)
# Long enough for rows after the look-back and their longest horizon.
SPAN_S = 1200
STEP_S = 5
KINDS = {
    "quote": {"type": "quote"},
    "buy": {"type": "trade", "side": "buy"},
    "sell": {"type": "trade", "side": "sell"},
    "unknown side": {"type": "trade"},
    "ticker gap": {"type": "gap", "stream": "ticker"},
    "trade gap": {"type": "gap", "stream": "trade"},
}


def _event(second: float, seq: int, kind: str, price: float) -> dict[str, object]:
    amounts = {"quote": {"bid": price, "ask": price + 1}, "trade": {"price": price}, "gap": {}}
    named = KINDS[kind]
    return {"ts": START + timedelta(seconds=second), "epoch": 1, "seq": seq, **named, **amounts[named["type"]]}


def _frame(events: Iterable[dict[str, object]]) -> pl.DataFrame:
    return pl.DataFrame([{name: event.get(name) for name in EVENT_SCHEMA} for event in events], schema=EVENT_SCHEMA)


def _times(seconds: Iterable[int]) -> Times:
    return np.array([int(START.timestamp() + s) * MICROS + 123_456 for s in seconds], dtype=np.int64)


@st.composite
def markets(draw: st.DrawFn) -> pl.DataFrame:
    """Events at few distinct times, so that many share theirs and only the log's order tells them apart; shuffled."""
    drawn = st.tuples(st.integers(-4 * SPAN_S, 4 * SPAN_S), st.sampled_from(list(KINDS)), st.integers(1, 50))
    events = draw(st.lists(drawn, min_size=1, max_size=120))
    # Quarters of a second: off the grid of whole seconds, too.
    quarters = sorted(quarter for quarter, _, _ in events)
    kept = [
        _event(quarter / 4, seq, kind, 100.0 + tick)
        for seq, (quarter, (_, kind, tick)) in enumerate(zip(quarters, events, strict=True))
    ]
    return _frame(draw(st.permutations(kept)))


@given(events=markets(), cuts=st.lists(st.integers(-SPAN_S, SPAN_S), max_size=4), every=st.integers(1, 90))
def test_cut_and_thinned_prices_give_the_truths_of_all_events(
    events: pl.DataFrame, cuts: list[int], every: int
) -> None:
    rows = _times(range(0, SPAN_S - 300, every))
    edges = [START + timedelta(seconds=cut) for cut in (-9 * SPAN_S, *sorted(cuts), 9 * SPAN_S)]
    pieces = [events.filter(pl.col("ts").is_between(*edge, closed="left")) for edge in pairwise(edges)]
    whole = price_path(events.sort("ts", "epoch", "seq"))
    found = prices.assemble(pieces, prices.first_read(rows), rows)
    if not len(whole.ts):
        assert not len(found.ts)
        return
    _assert_same(truth(found, rows, STEP_S), truth(whole, rows, STEP_S))
    np.testing.assert_array_equal(found.before(found.bid, rows), whole.before(whole.bid, rows))


def test_rows_may_come_in_any_order() -> None:
    """Rebuilt rows are read behind the live ones, whatever their times."""
    rows = _times([500, 0, 250])
    assert prices.first_read(rows) == prices.first_read(np.sort(rows))
    events = _frame(_event(second, seq, "quote", 100.0 + seq % 7) for seq, second in enumerate(range(-400, 900, 10)))
    path = prices.assemble([events], prices.first_read(rows), rows)
    _assert_same(truth(path, rows, STEP_S), truth(price_path(events), rows, STEP_S))


def test_a_gap_at_the_time_of_the_last_quote_voids_it_as_the_log_says() -> None:
    """A gap has the time of the last quote before it: sorted by time alone, that quote may come last and live on."""
    events = [
        *(_event(0, 0, "sell", 100), _event(400, 1, "quote", 120), _event(400, 2, "ticker gap", 0)),
        _event(1000, 3, "sell", 90),
    ]
    rows = _times([410, 500])
    path = prices.assemble([_frame(reversed(events))], prices.first_read(rows), rows)
    assert truth(path, rows, STEP_S).bid[:, 0].tolist() == [100.0, 100.0]


def _assert_same(found: Truth, expected: Truth) -> None:
    np.testing.assert_array_equal(found.bid, expected.bid)
    np.testing.assert_array_equal(found.vol, expected.vol)
    recent = expected.age_s < prices.LOOK_BACK.total_seconds()
    np.testing.assert_array_equal(found.age_s[recent], expected.age_s[recent])
    assert np.all(found.age_s[~recent] >= prices.LOOK_BACK.total_seconds())
