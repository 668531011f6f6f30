"""Targets: realised volatility against a slow, plain oracle; the floor; what is not yet due."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecast.model.targets import MICROS, PricePath, RealisedVariance, floors, silent, truth


def path_of(seconds: list[float], prices: list[float]) -> PricePath:
    ts = (np.asarray(seconds) * MICROS).astype(np.int64)
    return PricePath(ts, np.asarray(prices), np.asarray(prices), np.ones(len(ts), dtype=bool))


def oracle(seconds: list[float], prices: list[float], start: float, end: float, step: int) -> float:
    """Σ r² over grid points in (start, end], each price the last at or before its grid point; by loops."""

    def at(when: float) -> float:
        return [p for s, p in zip(seconds, prices, strict=True) if s <= when][-1]

    points = range(math.floor(start / step) + 1, math.floor(end / step) + 1)
    return sum(math.log(at(k * step) / at((k - 1) * step)) ** 2 for k in points)


@settings(max_examples=60)
@given(
    gaps=st.lists(st.floats(0.1, 9.0), min_size=40, max_size=60),
    prices=st.lists(st.floats(90.0, 110.0), min_size=60, max_size=60),
    start=st.floats(10.0, 40.0),
    step=st.sampled_from([1, 5]),
)
def test_realised_variance_is_the_plain_sum(gaps: list[float], prices: list[float], start: float, step: int) -> None:
    seconds = [round(s, 3) for s in np.cumsum(gaps)]
    start = max(round(start, 3), seconds[0] + step)
    end = start + 60.0
    if end > seconds[-1]:
        return
    values = prices[: len(seconds)]
    variance = RealisedVariance(path_of(seconds, values), step)
    got = variance.between(np.array([round(start * MICROS)]), np.array([round(end * MICROS)]))[0]
    assert got == pytest.approx(oracle(seconds, values, start, end, step), rel=1e-9, abs=1e-18)


def test_a_still_market_has_exactly_no_variance_and_the_floor_as_truth() -> None:
    path = path_of([float(s) for s in range(1000)], [100.0] * 1000)
    after = truth(path, np.array([300 * MICROS]), 5)
    assert np.array_equal(after.vol[0], floors())
    assert np.array_equal(after.bid[0], [100.0] * 5)


def test_the_floor_is_one_basis_point_at_five_minutes_and_shrinks_with_the_root() -> None:
    assert floors()[-1] == pytest.approx(1e-4)
    assert floors()[0] == pytest.approx(1e-4 / math.sqrt(5))


def test_the_bid_is_the_one_in_force_at_the_horizon() -> None:
    path = path_of([0.0, 59.0, 60.5, 400.0], [100.0, 101.0, 102.0, 103.0])
    after = truth(path, np.array([0]), 5)
    assert list(after.bid[0]) == [101.0, 102.0, 102.0, 102.0, 102.0]
    assert after.age_s[0, 0] == pytest.approx(1.0)


def test_what_is_not_due_is_unknown() -> None:
    path = path_of([float(s) for s in range(130)], [100.0 + s % 7 for s in range(130)])
    after = truth(path, np.array([0]), 5)
    assert np.isfinite(after.bid[0, :2]).all() and np.isfinite(after.vol[0, :2]).all()
    assert np.isnan(after.bid[0, 2:]).all() and np.isnan(after.vol[0, 2:]).all()


def test_a_change_between_mid_and_trade_price_is_no_return() -> None:
    seconds = np.arange(400.0)
    quoted = (seconds < 100) | (seconds >= 130)
    prices = np.where(quoted, 100.0, 100.1)
    path = PricePath((seconds * MICROS).astype(np.int64), prices, prices, quoted)
    assert np.array_equal(truth(path, np.array([50 * MICROS]), 5).vol[0], floors())


def test_a_row_before_a_long_silence_is_told_apart() -> None:
    path = path_of([0.0, 60.0, 120.0, 500.0, 560.0], [100.0] * 5)
    when = np.array([0, 60, 120, 500]) * MICROS
    assert silent(path, when, 300.0).tolist() == [True, True, True, False]
    assert silent(path, when, 300.0, 60).tolist() == [False, False, True, False]
    assert not silent(path, when, 380.0).any()
