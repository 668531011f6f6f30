"""Drift, skill and the rule that moves a champion back, on made-up figures."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.spec import NAMES
from forecast.data.dataset import Dataset
from forecast.monitoring import drift
from forecast.quality import MIN_JUDGED, drift_findings, skill_findings, stays_below_zero
from lakehouse.settings import HORIZONS_S

NOW = datetime(2026, 3, 1, 12, 34, tzinfo=UTC)


def _sums(skills: list[float], n: int = 500, version: str = "vol/2") -> pl.DataFrame:
    """One row per hour before NOW, the newest last."""
    hours = [NOW.replace(minute=0) - timedelta(hours=len(skills) - i) for i in range(len(skills))]
    return pl.DataFrame(
        {
            "symbol": "BTC/USD",
            "target": "vol",
            "horizon_s": 60,
            "model_version": version,
            "hour": hours,
            "n": n,
            "loss": [(1 - skill) * 10.0 for skill in skills],
            "baseline_loss": 10.0,
            "inside_80": n * 4 // 5,
            "inside_95": n,
        }
    )


def psi(reference: np.ndarray, values: np.ndarray) -> float:
    """The index of values against other values."""
    return drift.psi(drift.spread(reference), values)


def test_no_drift_is_near_zero_and_a_shift_is_not() -> None:
    rng = np.random.default_rng(1)
    reference = rng.normal(size=20_000)
    assert psi(reference, rng.normal(size=20_000)) < 0.01
    assert psi(reference, rng.normal(1.0, size=20_000)) > 0.25
    # Against the definition: all of the mass moved into one of ten equal bins.
    moved = psi(np.arange(1000.0), np.full(1000, 999.0))
    shares = (np.array([100.5] * 10 + [0.5]) / 1005.5, np.array([0.5] * 9 + [1000.5, 0.5]) / 1005.5)
    assert moved == pytest.approx(np.sum((shares[1] - shares[0]) * np.log(shares[1] / shares[0])))


def test_what_becomes_unknown_is_drift() -> None:
    known = np.arange(1000.0)
    assert psi(known, np.where(known < 500, np.nan, known)) > 0.25
    assert psi(np.full(100, np.nan), np.full(100, np.nan)) == pytest.approx(0.0)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60), st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60))
def test_drift_is_never_negative(one: list[float], other: list[float]) -> None:
    assert psi(np.array(one), np.array(other)) >= 0


def _rows(volume: list[float], symbols: list[str]) -> Dataset:
    """A dataset of which only one feature and the symbols matter."""
    matrix = np.full((len(volume), len(NAMES)), np.nan)
    matrix[:, NAMES.index("volume_1h")] = volume
    none = np.empty((len(volume), len(HORIZONS_S)))
    return Dataset(np.arange(len(volume)), np.array(symbols), matrix, {"bid": none, "vol": none}, "spec", 5)


def test_drift_is_told_against_what_the_champion_was_trained_on() -> None:
    trained = _rows([*range(500), *range(1000, 1500)], ["BTC/USD"] * 500 + ["ETH/USD"] * 500)
    # As it comes back from the registry.
    shape = drift.load(drift.dump(drift.shape(trained)))
    assert shape == drift.shape(trained)
    found = {
        symbol: {f.feature: f for f in drift_findings({"vol": shape}, _rows([*range(500)], [symbol] * 500))}
        for symbol in ("BTC/USD", "ETH/USD", "SOL/USD")
    }
    assert found["BTC/USD"]["volume_1h"].value == pytest.approx(0.0)
    assert found["BTC/USD"]["volume_1h"].target == "vol"
    assert found["ETH/USD"]["volume_1h"].value > 0.25
    assert found["ETH/USD"]["ret_5m"].value == pytest.approx(0.0)
    assert "bid" not in found["BTC/USD"]
    # The model never saw this one.
    assert found["SOL/USD"] == {}


def test_skill_and_coverage_are_pooled_over_the_hours() -> None:
    found = {f.measure: f for f in skill_findings(_sums([0.2, 0.4]))}
    assert found["skill"].value == pytest.approx(0.3)
    assert found["skill"].n == 1000
    assert found["coverage_80"].value == pytest.approx(0.8)
    assert found["coverage_95"].value == 1.0


def test_a_champion_goes_only_when_every_hour_says_so() -> None:
    assert len(stays_below_zero(_sums([-0.1, -0.2, -0.3]), "vol", "vol/2", 3, NOW)) == 3
    assert not stays_below_zero(_sums([-0.1, 0.01, -0.3]), "vol", "vol/2", 3, NOW)
    assert not stays_below_zero(_sums([-0.1, -0.2]), "vol", "vol/2", 3, NOW)


def test_too_few_forecasts_or_another_version_prove_nothing() -> None:
    assert not stays_below_zero(_sums([-0.1] * 3, n=MIN_JUDGED - 1), "vol", "vol/2", 3, NOW)
    assert not stays_below_zero(_sums([-0.1] * 3, version="vol/1"), "vol", "vol/2", 3, NOW)
    assert not stays_below_zero(_sums([-0.1] * 3), "bid", "bid/2", 3, NOW)


def test_a_rule_that_serves_has_no_skill_and_stays() -> None:
    assert not stays_below_zero(_sums([0.0] * 3), "vol", "vol/2", 3, NOW)
