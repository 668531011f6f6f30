"""Judging forecasts: the truth by hand, and no verdict where the truth is not known or not fresh."""

import math
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from forecast.model.targets import PricePath
from forecast.monitoring.scoring import scores
from lakehouse.schema import GOLD_FORECAST_SCORES

START = datetime(2026, 1, 1, tzinfo=UTC)


def _path(silent: range = range(0)) -> PricePath:
    seconds = np.array([s for s in range(601) if s not in silent])
    prices = 100.0 + np.sin(seconds / 7.0)
    return PricePath(
        (int(START.timestamp()) + seconds) * 1_000_000, prices, prices + 0.5, np.ones(len(prices), dtype=bool)
    )


def _forecasts(*rows: tuple[str, int, int, float]) -> pl.DataFrame:
    return pl.DataFrame(
        [
            {
                "ts": START + timedelta(seconds=second),
                "symbol": "BTC/USD",
                "target": target,
                "horizon_s": horizon,
                "model_version": f"{target}/1",
                "value": value,
                "baseline": value * 1.001,
                "lower": value * 0.99,
                "upper": value * 1.01,
                "lower_95": value * 0.9,
                "upper_95": value * 1.1,
                "epoch": 1,
                "seq": i,
            }
            for i, (target, second, horizon, value) in enumerate(rows)
        ],
        schema_overrides={"ts": pl.Datetime("us", "UTC")},
    )


def test_bid_and_volatility_by_hand() -> None:
    found = scores(_forecasts(("bid", 100, 60, 100.0), ("vol", 100, 60, 0.01)), _path(), step_s=5)
    assert set(found.columns) == set(GOLD_FORECAST_SCORES.names)
    bid, vol = found.sort("target").rows(named=True)
    assert bid["truth"] == pytest.approx(100.0 + math.sin(160 / 7))
    assert bid["loss"] == pytest.approx(math.log(bid["truth"] / 100.0) ** 2)
    assert bid["baseline_loss"] == pytest.approx(math.log(bid["truth"] / 100.1) ** 2)
    assert bid["inside_80"] is (99.0 <= bid["truth"] <= 101.0)
    mids = 100.5 + np.sin(np.arange(100, 161, 5) / 7.0)
    assert vol["truth"] == pytest.approx(math.sqrt(np.sum(np.diff(np.log(mids)) ** 2)))


def test_no_verdict_without_a_fresh_truth() -> None:
    rows = _forecasts(("bid", 100, 60, 100.0), ("bid", 200, 60, 100.0), ("bid", 590, 60, 100.0), ("vol", -30, 60, 0.01))
    found = scores(rows, _path(silent=range(250, 270)), step_s=5)
    assert found["seq"].to_list() == [0]
