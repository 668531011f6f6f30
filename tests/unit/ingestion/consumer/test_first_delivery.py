"""The first delivery of a trade wins; a redelivery of the row in bronze is told from a double of it."""

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from ingestion.completeness.interval_set import IntervalSet
from ingestion.consumer.first_delivery import HeldTrades, RedeliveredTrades, by_symbol, first_deliveries


def trades(*rows: tuple[str, int, int]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema={"symbol": pl.String, "trade_id": pl.Int64, "seq": pl.Int64}, orient="row")


def test_the_first_delivery_wins_also_within_a_batch() -> None:
    held = {"BTC/USD": HeldTrades(IntervalSet.of(np.array([1, 2]))), "ETH/USD": HeldTrades()}
    batch = trades(("BTC/USD", 2, 50), ("ETH/USD", 2, 51), ("BTC/USD", 3, 52), ("BTC/USD", 3, 53), ("ETH/USD", 1, 54))
    assert first_deliveries(batch, "live", held).tolist() == [False, True, True, False, True]
    assert first_deliveries(batch, "live", held).tolist() == [False] * 5


def test_a_redelivery_of_the_row_in_bronze_is_taken_again_but_no_double_of_it() -> None:
    # Bronze has trade 5 from offset 10; Kafka holds a double of it at offset 20.
    held = {
        "BTC/USD": HeldTrades(IntervalSet.of(np.array([5])), {"live": RedeliveredTrades(np.array([10]), np.array([5]))})
    }
    batch = trades(("BTC/USD", 5, 10), ("BTC/USD", 5, 20))
    assert first_deliveries(batch, "live", held).tolist() == [True, False]
    assert first_deliveries(batch, "history", held).tolist() == [False, False]


def test_a_held_trade_at_an_offset_given_out_twice_is_no_redelivery() -> None:
    # The log lost its tail: offset 10 held trade 5 and holds a double of trade 4 now, offset 30 was never seen.
    redelivered = RedeliveredTrades(np.array([10, 20]), np.array([5, 6]))
    held = {"BTC/USD": HeldTrades(IntervalSet.of(np.array([4, 5, 6])), {"live": redelivered})}
    batch = trades(("BTC/USD", 4, 10), ("BTC/USD", 6, 20), ("BTC/USD", 5, 30))
    assert first_deliveries(batch, "live", held).tolist() == [False, True, False]


@given(st.lists(st.sampled_from(["A/B", "C/D", "E/F"]), max_size=30))
def test_rows_are_grouped_by_symbol_in_order(symbols: list[str]) -> None:
    found = by_symbol(pl.Series(symbols, dtype=pl.String))
    assert {s: rows.tolist() for s, rows in found} == {
        s: [i for i, x in enumerate(symbols) if x == s] for s in set(symbols)
    }
