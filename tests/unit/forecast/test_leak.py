"""The leak gate: silent on honest data, loud on every leak planted here."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from features.engine import EngineConfig
from features.spec import NAMES
from forecast import inputs, leak
from forecast.dataset import Dataset
from forecast.leak import LeakError
from forecast.walkforward import Plan, split
from lakehouse.messages import EVENT_SCHEMA

PLAN = Plan(folds=3, burn_in=1)


def with_feature(data: Dataset, name: str, values: np.ndarray) -> Dataset:
    matrix = data.matrix.copy()
    matrix[:, NAMES.index(name)] = values
    return replace(data, matrix=matrix)


def test_honest_data_passes_and_the_controls_fire(market: Dataset) -> None:
    found = leak.check(market, PLAN, None, None)
    assert found["suspects"] == 0 and found["purged_folds"] == 4
    assert found["fired"] == ["shifted labels", "planted bid", "planted vol"]


def test_a_return_that_lies_in_the_future_is_caught(market: Dataset) -> None:
    now = market.matrix[:, NAMES.index("bid")]
    leaky = with_feature(market, "ret_5m", np.log(market.truth["bid"][:, -1] / now))
    with pytest.raises(LeakError, match=r"input ret_5m knows the bid"):
        leak.check(leaky, PLAN, None, None)


def test_a_window_centred_on_its_row_is_caught(market: Dataset) -> None:
    leaky = with_feature(market, "rv_5m", market.truth["vol"][:, -1] ** 2)
    with pytest.raises(LeakError, match="log_rv_5m knows the vol"):
        leak.check(leaky, PLAN, None, None)


def test_an_embargo_shorter_than_the_horizon_is_caught(market: Dataset) -> None:
    with pytest.raises(LeakError, match="embargo"):
        leak.assert_purged(market.ts, replace(PLAN, embargo_s=120.0))


def test_no_training_truth_reaches_into_a_judged_fold(market: Dataset) -> None:
    for train, judged in split(market.ts, PLAN):
        assert market.ts[train].max() + 300_000_000 < market.ts[judged].min()


def test_blindness_of_the_check_is_an_error(markets: Callable[[int, int], Dataset]) -> None:
    few = markets(150, 1)
    with pytest.raises(LeakError, match="unnoticed"):
        leak._positive_controls(few, inputs.table(few.rows()))


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
    assert leak.assert_future_unknown(events(), EngineConfig()) > 200


def test_a_feature_that_moves_with_the_future_is_named() -> None:
    before = np.zeros((5, len(NAMES)))
    after = before.copy()
    after[3, NAMES.index("vwap_1m")] = 1e-12
    with pytest.raises(LeakError, match="vwap_1m"):
        leak.same(before, after)
    assert leak.same(before, before.copy()) == 5


def test_scrambling_changes_prices_and_nothing_of_the_order() -> None:
    original = events(50)
    scrambled = leak.scramble(original)
    assert original.select("ts", "seq", "trade_id").equals(scrambled.select("ts", "seq", "trade_id"))
    assert not original["price"].equals(scrambled["price"])
