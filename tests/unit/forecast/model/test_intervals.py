"""Intervals: coverage through a jump of volatility, the state's name, and what an update may do."""

import numpy as np
import pytest

from forecast.model import intervals
from forecast.model.intervals import Calibration
from lakehouse.settings import HORIZONS_S

MINUTE = 60_000_000


def jump(rows: int = 20_000) -> tuple[np.ndarray, np.ndarray]:
    """Residuals whose spread triples half-way, one row a minute."""
    rng = np.random.default_rng(4)
    spread = np.where(np.arange(rows) < rows // 2, 1.0, 3.0)
    return np.arange(rows, dtype=np.int64) * MINUTE, rng.normal(size=(rows, 5)) * spread[:, None]


def coverage(residuals: np.ndarray, quantiles: np.ndarray, low: int, high: int) -> float:
    return float(((residuals >= quantiles[:, :, low]) & (residuals <= quantiles[:, :, high])).mean())


def test_coverage_holds_through_a_jump_where_a_fixed_interval_fails() -> None:
    ts, residuals = jump()
    start = intervals.fit(residuals[:2000])
    tracked, _ = intervals.track(start, residuals[2000:], ts[2000:], HORIZONS_S)
    fixed = np.broadcast_to(np.asarray(start.quantiles), tracked.shape)
    assert coverage(residuals[2000:], tracked, 1, 2) == pytest.approx(0.80, abs=0.015)
    assert coverage(residuals[2000:], tracked, 0, 3) == pytest.approx(0.95, abs=0.02)
    assert coverage(residuals[2000:], fixed, 0, 3) < 0.80
    assert coverage(residuals[2000:], fixed, 1, 2) < 0.65
    last_week = slice(-10_080, None)
    assert coverage(residuals[last_week], tracked[last_week], 1, 2) == pytest.approx(0.80, abs=0.05)


def test_no_quantile_knows_a_residual_that_was_not_due() -> None:
    ts, residuals = jump(400)
    start = intervals.fit(residuals)
    other = residuals.copy()
    other[200:] *= 50
    tracked, _ = intervals.track(start, residuals, ts, HORIZONS_S)
    changed, _ = intervals.track(start, other, ts, HORIZONS_S)
    assert np.array_equal(tracked[:201], changed[:201])
    assert not np.array_equal(tracked, changed)


def test_fit_takes_empirical_quantiles_and_leaves_unknown_out() -> None:
    residuals = np.linspace(0, 1, 1001)[:, None].repeat(5, axis=1)
    with_gaps = np.vstack([residuals, np.full((50, 5), np.nan)])
    assert intervals.fit(with_gaps).quantiles[0] == pytest.approx(intervals.LEVELS, abs=1e-9)


def test_the_state_round_trips_and_its_name_follows_its_content() -> None:
    state = intervals.fit(np.random.default_rng(0).normal(size=(100, 5)))
    again = Calibration.from_json(state.to_json())
    assert again == state and again.id == state.id and len(state.id) == 12
    moved = intervals.update(state, np.full((3, 5), 9.0), 1.0)
    assert moved.id != state.id and moved.minutes == 1.0


def test_unknown_residuals_change_no_quantile() -> None:
    state = intervals.normal(np.ones(5))
    assert intervals.update(state, np.full((4, 5), np.nan), 5.0).quantiles == state.quantiles


def test_misses_above_raise_the_upper_ends_and_keep_the_order() -> None:
    state = intervals.normal(np.ones(5))
    moved = np.asarray(intervals.update(state, np.full((10, 5), 8.0), 10.0).quantiles)
    assert (moved > np.asarray(state.quantiles)).all()
    assert (np.diff(moved, axis=1) >= 0).all()


def test_the_interval_is_a_function_of_value_scale_and_state() -> None:
    state = intervals.normal(np.full(5, 0.1))
    value, scale = np.full((2, 5), 100.0), np.array([[1.0] * 5, [2.0] * 5])
    low, high, low_95, high_95 = intervals.bounds(state, value, scale)
    assert low[0] == pytest.approx(100 * np.exp(-0.1281552))
    assert high[1] == pytest.approx(100 * np.exp(0.2563104))
    assert (low_95 < low).all() and (high_95 > high).all()
    assert intervals.residual(high, value, scale) == pytest.approx(np.full((2, 5), 0.1281552))


def test_moving_by_shares_is_what_updating_by_residuals_does() -> None:
    state = intervals.normal(np.linspace(0.5, 1.5, 5))
    residuals = np.random.default_rng(6).normal(size=(300, 5))
    residuals[:100, 2] = np.nan
    quantiles = np.asarray(state.quantiles)
    above = np.array([[np.nanmean(r[np.isfinite(r)] > q) for q in quantiles[j]] for j, r in enumerate(residuals.T)])
    assert intervals.moved(state, above, 10.0) == intervals.update(state, residuals, 10.0)
    unjudged = np.full((5, 4), np.nan)
    assert intervals.moved(state, unjudged, 10.0).quantiles == state.quantiles
    assert Calibration.from_json(state.to_json()) == state
