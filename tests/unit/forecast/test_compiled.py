"""Compiled trees give XGBoost's own margins, bit for bit, or are not used."""

from dataclasses import replace

import numpy as np
import pytest
import xgboost

from forecast.learned import Inputs, Learned
from forecast.linear import Linear
from forecast.serving import compiled
from forecast.serving.compiled import NATIVE_ROWS, compile_trees, pack

WIDTH = 6


def _table(rows: int, seed: int) -> Inputs:
    rng = np.random.default_rng(seed)
    table = rng.normal(size=(rows, WIDTH)).astype(np.float32)
    table[rng.random(table.shape) < 0.1] = np.nan
    return table


def _booster(seed: int, rounds: int = 30, **params: object) -> xgboost.Booster:
    table = _table(2000, seed)
    wanted = np.nansum(table * np.arange(WIDTH), axis=1) + 10
    data = xgboost.DMatrix(table, np.exp(wanted / 20) if "objective" in params else wanted)
    return xgboost.train({"max_depth": 5, "eta": 0.3, "nthread": 1, **params}, data, rounds)


def _learned(*boosters: xgboost.Booster) -> Learned:
    line = Linear((0,), np.zeros(1), np.ones(1), 0.0, np.zeros(1))
    names = tuple(f"f{i}" for i in range(WIDTH))
    return Learned("vol", "xgboost", names, (line,) * len(boosters), boosters, ((0.0, 1.0),) * len(boosters))


@pytest.fixture(scope="module")
def learned() -> Learned:
    return _learned(_booster(0), _booster(1, rounds=7), _booster(2, max_depth=1), _booster(3, objective="reg:gamma"))


def test_equal_to_xgboost_bit_for_bit(learned: Learned) -> None:
    table = _table(500, seed=9)
    table[0], table[1] = np.nan, 0.0
    table[2], table[3] = 3e38, -3e38
    np.testing.assert_array_equal(pack(learned.boosters).margins(table), learned.margins(table))


def test_rows_exactly_on_a_threshold_go_the_same_way(learned: Learned) -> None:
    forest = pack(learned.boosters)
    thresholds = forest.nodes["threshold"][np.isfinite(forest.nodes["threshold"])]
    table = np.repeat(thresholds[:300, None], WIDTH, axis=1).astype(np.float32)
    np.testing.assert_array_equal(forest.margins(table), learned.margins(table))


def test_the_evaluator_agrees_for_few_and_many_rows(learned: Learned) -> None:
    evaluate = compile_trees(learned)
    assert evaluate is not None
    for rows in (1, NATIVE_ROWS - 1, NATIVE_ROWS, 200):
        table = _table(rows, seed=rows)
        np.testing.assert_array_equal(evaluate(table), learned.margins(table))


def test_a_walk_that_differs_is_not_used(learned: Learned, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(boosters: tuple[xgboost.Booster, ...]) -> compiled.Forest:
        forest = pack(boosters)
        leaves = forest.leaves.copy()
        leaves[np.flatnonzero(leaves)[0]] *= 1.5
        return replace(forest, leaves=leaves)

    monkeypatch.setattr(compiled, "pack", wrong)
    assert compile_trees(learned) is None


def test_what_is_no_plain_forest_stays_with_its_library(learned: Learned) -> None:
    assert compile_trees(replace(learned, library="lightgbm")) is None
    assert compile_trees(_learned(_booster(0, booster="gblinear", max_depth=0))) is None
