"""Losses and tests against independent oracles."""

import math

import numpy as np
import pytest
from scipy import stats

from forecast.model.losses import diebold_mariano, hac_variance, interval_score, over, qlike, squared_log_error


def test_qlike_by_hand() -> None:
    got = qlike(np.array([2.0, 1.0, 3.0]), np.array([1.0, 1.0, 6.0]))
    assert got == pytest.approx([4 - math.log(4) - 1, 0.0, 0.25 - math.log(0.25) - 1])


def test_qlike_is_least_at_the_mean_variance() -> None:
    truth = np.sqrt(np.random.default_rng(0).gamma(1.0, 1.0, 5000))
    grid = np.linspace(0.5, 1.5, 201)
    losses = [qlike(truth, np.full_like(truth, f)).mean() for f in grid]
    assert grid[int(np.argmin(losses))] ** 2 == pytest.approx((truth**2).mean(), rel=0.02)


def test_squared_log_error_by_hand() -> None:
    assert squared_log_error(np.array([math.e]), np.array([1.0])) == pytest.approx([1.0])


def test_interval_score_by_hand() -> None:
    truth, low, high = np.array([0.0, -1.0, 3.0]), np.full(3, -0.5), np.full(3, 1.5)
    assert interval_score(truth, low, high, 0.2) == pytest.approx([2.0, 2.0 + 10 * 0.5, 2.0 + 10 * 1.5])


def test_where_nothing_is_lost_the_losses_are_equal() -> None:
    got = over(np.array([0.0, -1e-17, 1.0, 0.2, 0.0]), np.array([0.0, 1e-16, 0.0, 0.1, 0.1]))
    assert got[:2] == pytest.approx([1.0, 1.0]) and np.isfinite(got).all() and got[2] > 1e9
    assert got[3:] == pytest.approx([2.0, 0.0])


@pytest.mark.parametrize("lags", [0, 1, 7])
def test_hac_variance_is_newey_west_by_loops(lags: int) -> None:
    x = np.convolve(np.random.default_rng(1).normal(size=300), np.ones(4))[:300]
    centred, n = x - x.mean(), len(x)
    total = float((centred**2).sum()) / n
    for lag in range(1, lags + 1):
        total += 2 * (1 - lag / (lags + 1)) * float((centred[lag:] * centred[:-lag]).sum()) / n
    assert hac_variance(x, lags) == pytest.approx(total / n, rel=1e-9)


def test_diebold_mariano_on_independent_losses_is_the_t_test() -> None:
    rng = np.random.default_rng(2)
    loss, other = rng.normal(1.0, 1.0, 4000), rng.normal(1.1, 1.0, 4000)
    got = diebold_mariano(loss, other, 1)
    assert got.statistic == pytest.approx(stats.ttest_rel(loss, other).statistic, rel=0.15)
    assert got.mean < 0 and got.p < 0.01


def test_diebold_mariano_does_not_mistake_overlap_for_evidence() -> None:
    rejected = 0
    for seed in range(100):
        noise = np.random.default_rng(seed).normal(size=1200)
        overlapping = np.convolve(noise, np.ones(20), mode="valid")
        rejected += diebold_mariano(overlapping, np.zeros_like(overlapping), 20).p < 0.05
    assert rejected <= 20  # a test without HAC errors rejects two times in three here


def test_equal_losses_are_no_evidence() -> None:
    assert diebold_mariano(np.ones(10), np.ones(10), 3).p == 1.0
