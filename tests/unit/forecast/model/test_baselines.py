"""Simple rules: their formulas, what they fall back to, and that each is a function of its row alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.spec import HALF_LIVES_MIN, NAMES
from forecast.data.dataset import Dataset
from forecast.model import baselines
from forecast.model.baselines import RULES, Rule
from forecast.model.losses import qlike
from forecast.model.rows import FeatureRows
from forecast.model.targets import TARGETS, Target, floors
from forecast.training import fitting
from lakehouse.settings import HORIZONS_S


def row(**values: float) -> FeatureRows:
    matrix = np.full((1, len(NAMES)), np.nan)
    for name, value in values.items():
        matrix[0, NAMES.index(name)] = value
    return FeatureRows(matrix, NAMES)


def test_ewma_scales_variance_per_minute_to_the_horizon() -> None:
    got = baselines.predict([Rule("ewma", {"half_life_min": 15})] * 5, row(ewma_rv_15m=4e-6))
    assert got[0] == pytest.approx(np.sqrt(4e-6 * np.array(HORIZONS_S) / 60))


def test_an_unknown_half_life_falls_back_to_the_nearest_known() -> None:
    rules = [Rule("ewma", {"half_life_min": 15})] * 5
    got = baselines.predict(rules, row(ewma_rv_240m=1e-6, ewma_rv_30m=4e-6))
    assert got[0, 0] == pytest.approx(np.sqrt(4e-6))


def test_knowing_nothing_gives_the_floor_not_nothing() -> None:
    got = baselines.predict(baselines.default_rules("vol"), row(last=100.0))
    assert np.array_equal(got[0], floors())


def test_persistence_is_the_bid_or_else_the_last_price() -> None:
    rules = baselines.default_rules("bid")
    assert (baselines.predict(rules, row(bid=99.5, last=100.0)) == 99.5).all()
    assert (baselines.predict(rules, row(last=100.0)) == 100.0).all()


def test_har_is_least_squares_on_logs_with_mean_one_ratio(market: Dataset) -> None:
    rows, truth = market.rows(), market.truth["vol"]
    rules = fitting.fit_rule("har", "vol", rows, truth)
    design = np.column_stack(
        [np.ones(len(market)), *(np.log(rows[name] / m) for name, m in (("rv_5m", 5), ("rv_1h", 60), ("rv_24h", 1440)))]
    )
    value = 2 * np.log(truth[:, -1])
    slopes = np.linalg.solve(design.T @ design, design.T @ value)
    assert rules[-1].params["coefficients"][1:] == pytest.approx(slopes[1:], rel=1e-6)
    forecast = baselines.predict(rules, rows)[:, -1]
    assert np.mean((truth[:, -1] / forecast) ** 2) == pytest.approx(1.0, rel=1e-6)


def test_the_half_life_is_the_one_with_the_least_loss(market: Dataset) -> None:
    rows, truth = market.rows(), market.truth["vol"]
    chosen = fitting.fit_rule("ewma", "vol", rows, truth)[-1].params["half_life_min"]
    losses = {
        h: qlike(truth, baselines.predict([Rule("ewma", {"half_life_min": h})] * 5, rows))[:, -1].mean()
        for h in HALF_LIVES_MIN
    }
    assert chosen == min(losses, key=lambda h: losses[h])


def test_a_rule_whose_window_is_unknown_is_not_chosen(market: Dataset) -> None:
    matrix = market.matrix.copy()
    matrix[:, NAMES.index("rv_24h")] = np.nan
    rows = FeatureRows(matrix, NAMES)
    best = fitting.best_rules("vol", fitting.fit_rules("vol", rows, market.truth["vol"]), rows, market.truth["vol"])
    assert not {"har", "tod"} & {rule.kind for rule in best}


@settings(max_examples=20)
@given(order=st.permutations(range(12)), keep=st.integers(1, 12), target=st.sampled_from(TARGETS))
def test_every_rule_is_a_function_of_its_row_alone(
    market: Dataset, order: list[int], keep: int, target: Target
) -> None:
    chosen = np.array(order[:keep])
    for kind in RULES[target]:
        rules = fitting.fit_rule(kind, target, market.rows(slice(0, 500)), market.truth[target][:500])
        together = baselines.predict(rules, market.rows(slice(0, 12)))
        alone = baselines.predict(rules, market.rows(chosen))
        # Matrix products of other sizes round the last digit otherwise.
        np.testing.assert_allclose(alone, together[chosen], rtol=1e-12)
