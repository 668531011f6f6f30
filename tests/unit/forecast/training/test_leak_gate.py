"""The leak gate: silent on honest data, loud on every leak planted here."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from features.engine import EngineConfig
from features.spec import NAMES
from forecast import evaluate
from forecast.data.dataset import Dataset
from forecast.model import inputs
from forecast.training import leak_gate
from forecast.training.leak_gate import LeakError
from forecast.training.walkforward import Schedule, split
from lakehouse.messages import EVENT_SCHEMA

PLAN = Schedule(folds=3, burn_in=1)


def with_feature(data: Dataset, name: str, values: np.ndarray) -> Dataset:
    matrix = data.matrix.copy()
    matrix[:, NAMES.index(name)] = values
    return replace(data, matrix=matrix)


def test_honest_data_passes_and_the_controls_fire(market: Dataset) -> None:
    found = leak_gate.check(market, PLAN, None, None)
    assert found["suspects"] == 0 and found["purged_folds"] == 4
    assert found["fired"] == ["shifted labels", "planted bid", "planted vol"]


def test_a_return_that_lies_in_the_future_is_caught(market: Dataset) -> None:
    now = market.matrix[:, NAMES.index("bid")]
    leaky = with_feature(market, "ret_5m", np.log(market.truth["bid"][:, -1] / now))
    with pytest.raises(LeakError, match=r"input ret_5m knows the bid"):
        leak_gate.check(leaky, PLAN, None, None)


def test_a_window_centred_on_its_row_is_caught(market: Dataset) -> None:
    leaky = with_feature(market, "rv_5m", market.truth["vol"][:, -1] ** 2)
    with pytest.raises(LeakError, match="log_rv_5m knows the vol"):
        leak_gate.check(leaky, PLAN, None, None)


def test_an_embargo_shorter_than_the_horizon_is_caught(market: Dataset) -> None:
    with pytest.raises(LeakError, match="embargo"):
        leak_gate.assert_purged(market.ts, replace(PLAN, embargo_s=120.0))


def test_no_training_truth_reaches_into_a_judged_fold(market: Dataset) -> None:
    for train, judged in split(market.ts, PLAN):
        assert market.ts[train].max() + 300_000_000 < market.ts[judged].min()


def test_blindness_of_the_check_is_an_error(markets: Callable[[int, int], Dataset]) -> None:
    few = markets(150, 1)
    with pytest.raises(LeakError, match="unnoticed"):
        leak_gate._positive_controls(few, inputs.table(few.rows()))


def events(count: int = 600) -> pl.DataFrame:
    rng = np.random.default_rng(0)
    start = datetime(2026, 1, 1, tzinfo=UTC)
    frame = pl.DataFrame(
        {
            "type": "trade",
            "symbol": "BTC/USD",
            "trade_id": np.arange(1, count + 1),
            "price": 100 * np.exp(np.cumsum(rng.normal(0, 1e-4, count))),
            "qty": rng.uniform(0.1, 1.0, count),
            "side": rng.choice(["buy", "sell"], count),
            "ts": [start + timedelta(seconds=0.7 * k) for k in range(count)],
            "epoch": 0,
            "seq": np.arange(count),
        }
    ).with_columns(received_at="ts")
    known = [pl.col(c).cast(t) if c in frame.columns else pl.lit(None, t).alias(c) for c, t in EVENT_SCHEMA.items()]
    return frame.select(known)


def test_the_engine_does_not_know_what_comes_after_a_row() -> None:
    assert leak_gate.assert_future_unknown(events(), EngineConfig()) > 200


def test_a_feature_that_moves_with_the_future_is_named() -> None:
    before = np.zeros((5, len(NAMES)))
    after = before.copy()
    after[3, NAMES.index("vwap_1m")] = 1e-12
    with pytest.raises(LeakError, match="vwap_1m"):
        leak_gate.same(before, after)
    assert leak_gate.same(before, before.copy()) == 5


def test_scrambling_changes_prices_and_nothing_of_the_order() -> None:
    original = events(50)
    scrambled = leak_gate.scramble(original)
    assert original.select("ts", "seq", "trade_id").equals(scrambled.select("ts", "seq", "trade_id"))
    assert not original["price"].equals(scrambled["price"])


def quotes(trades: pl.DataFrame, ahead: int = 0) -> pl.DataFrame:
    """A quote just before each trade; with ``ahead``, it already knows the price of so many trades later."""
    price = pl.col("price").shift(-ahead)
    return (
        trades.with_columns(
            type=pl.lit("quote"), ts=pl.col("ts") - timedelta(milliseconds=1), bid=price - 0.01, ask=price + 0.01
        )
        .with_columns(price=pl.lit(None, pl.Float64), qty=pl.lit(None, pl.Float64), side=pl.lit(None, pl.String))
        .filter(pl.col("bid").is_not_null())
    )


@pytest.fixture(scope="module")
def trades() -> pl.DataFrame:
    """Ten hours of trades, one every two seconds."""
    return events(18_000).with_columns(ts=pl.col("ts").first() + pl.duration(seconds=2 * pl.col("seq")))


def test_quotes_that_end_long_before_the_trades_are_no_leak(trades: pl.DataFrame) -> None:
    told = quotes(trades)[:1800]
    data = evaluate.from_ticks(trades, told)
    frozen = (data.ts > told["ts"].to_physical()[-1] + 600_000_000) & (data.truth["vol"][:, -1] < 1.01e-4)
    assert data.counts["incomplete"] > 2000 and not frozen.any()
    assert len(data) > 1500 and leak_gate.check(data, PLAN, None, None)["suspects"] == 0


def test_quotes_that_know_the_price_of_later_are_caught(trades: pl.DataFrame) -> None:
    assert leak_gate.check(evaluate.from_ticks(trades, quotes(trades)), PLAN, None, None)["suspects"] == 0
    with pytest.raises(LeakError, match="knows the"):
        leak_gate.check(leaky_dataset(trades), PLAN, None, None)


def leaky_dataset(trades: pl.DataFrame) -> Dataset:
    """Rows that saw quotes of two minutes ahead, beside the truth of honest ones."""
    honest, early = evaluate.from_ticks(trades, quotes(trades)), evaluate.from_ticks(trades, quotes(trades, ahead=60))
    shared = np.isin(honest.ts, early.ts)
    matrix = early.matrix[np.isin(early.ts, honest.ts)].copy()
    matrix[:, NAMES.index("bid")] = honest.matrix[shared, NAMES.index("bid")]
    truths = {target: truth[shared] for target, truth in honest.truth.items()}
    return replace(honest, ts=honest.ts[shared], symbols=honest.symbols[shared], matrix=matrix, truth=truths)
