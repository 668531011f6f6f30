"""Compiled formulas of `forecast.model` against their numpy twins; the trees bit for bit against XGBoost."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xgboost

from features.spec import NAMES
from forecast.data.dataset import Dataset
from forecast.model import baselines, forecaster, forest, inputs, linear
from forecast.model.baselines import Rule
from forecast.model.correction import Correction, raw_margins
from forecast.model.forecaster import Forecaster, Prediction, untrained
from forecast.model.forest import pack, walk
from forecast.model.inputs import Inputs
from forecast.model.linear import Linear
from forecast.model.rows import FeatureRows
from forecast.model.targets import TARGETS, Array, Target
from lakehouse.errors import FatalError
from tests.oracle import forecasts

WIDTH = len(inputs.NAMES)
FIELDS = Prediction._fields
RULES: dict[Target, tuple[Rule, ...]] = {
    "bid": (Rule("persistence"),) * 5,
    "vol": (
        Rule("har", {"coefficients": [-0.1, 0.4, 0.3, 0.2]}),
        Rule("ewma", {"half_life_min": 60}),
        Rule("last", {"window": "rv_15m"}),
        Rule("tod", {"half_life_min": 240}),
        Rule("ewma", {"half_life_min": 45}),
    ),
}


def _table(rows: int, seed: int) -> Inputs:
    rng = np.random.default_rng(seed)
    table = rng.normal(size=(rows, WIDTH)).astype(np.float32)
    table[rng.random(table.shape) < 0.1] = np.nan
    return table


def _booster(seed: int, rounds: int = 30, **params: object) -> xgboost.Booster:
    table = _table(2000, seed)
    wanted = np.nansum(table * (np.arange(WIDTH) % 6), axis=1) + 10
    data = xgboost.DMatrix(table, np.exp(wanted / 20) if "objective" in params else wanted)
    return xgboost.train({"max_depth": 5, "eta": 0.3, "nthread": 1, **params}, data, rounds)


def _lines() -> tuple[Linear, ...]:
    rng = np.random.default_rng(4)
    lines = []
    for j in range(5):
        columns = tuple(range(j, WIDTH, 2))
        mean, sd = rng.uniform(0.5, 1.5, (2, len(columns)))
        lines.append(Linear(columns, mean, sd, 0.1, rng.normal(0, 0.02, len(columns))))
    return tuple(lines)


def _model(target: Target, *boosters: xgboost.Booster) -> Forecaster:
    shares = ((1.0, 0.5), (0.5, 0.25), (0.0, 0.1), (0.3, 0.0), (0.0, 0.0))
    correction = Correction(target, "xgboost", inputs.NAMES, _lines(), boosters, shares)
    rule = untrained("xgboost", target, RULES[target], "abc", NAMES)
    return replace(rule, correction=correction)


@pytest.fixture(scope="module")
def boosters() -> tuple[xgboost.Booster, ...]:
    """Boosters of all kinds: many and few trees, shallow ones, one whose base score is on another scale."""
    return (
        _booster(0),
        _booster(1, rounds=7),
        _booster(2, max_depth=1),
        _booster(3, objective="reg:gamma"),
        _booster(4),
    )


def _rows(count: int, known: float, seed: int = 2) -> Array:
    """Rows in spec order of which a share is known, their prices among it."""
    rng = np.random.default_rng(seed)
    rows = np.exp(rng.normal(-8, 4, (count, len(NAMES))))
    rows[rng.random(rows.shape) > known] = np.nan
    rows[:, NAMES.index("last")] = 100 + rng.normal(0, 1, count)
    return rows


def test_trees_equal_xgboost_bit_for_bit(boosters: tuple[xgboost.Booster, ...]) -> None:
    packed = pack([booster.save_raw("json") for booster in boosters])

    def walked(table: Inputs) -> Array:
        out = np.empty((len(table), len(boosters)), np.float32)
        walk(packed, table, out)
        return out.astype(np.float64)

    table = _table(500, seed=9)
    table[0], table[1] = np.nan, 0.0
    table[2], table[3] = 3e38, -3e38
    np.testing.assert_array_equal(walked(table), raw_margins(boosters, table))
    thresholds = packed.nodes["threshold"][np.isfinite(packed.nodes["threshold"])]
    on_them = np.repeat(thresholds[:300, None], WIDTH, axis=1).astype(np.float32)
    np.testing.assert_array_equal(walked(on_them), raw_margins(boosters, on_them))


@pytest.mark.parametrize("known", [1.0, 0.7, 0.0])
@pytest.mark.parametrize("target", TARGETS)
def test_a_forecast_is_what_the_oracle_says(
    boosters: tuple[xgboost.Booster, ...], target: Target, known: float
) -> None:
    for model in (_model(target, *boosters), replace(_model(target, *boosters), correction=None)):
        rows = _rows(200, known)
        with np.errstate(all="ignore"):
            wanted = forecasts.forecast(model, rows)
        got = model.forecast(rows)
        for name in FIELDS:
            np.testing.assert_allclose(getattr(got, name), getattr(wanted, name), rtol=1e-9, err_msg=name)
        alone = [model.forecast(row[None]).value for row in rows]
        np.testing.assert_array_equal(np.concatenate(alone), got.value)


def test_columns_in_another_order_and_missing_ones(boosters: tuple[xgboost.Booster, ...]) -> None:
    few = tuple(name for name in reversed(NAMES) if not name.startswith("h24_") and name != "rv_tod")
    model = replace(_model("vol", *boosters), columns=few)
    rows = _rows(20, 0.9)[:, [NAMES.index(name) for name in few]]
    np.testing.assert_allclose(model.forecast(rows).value, forecasts.forecast(model, rows).value, rtol=1e-9)


@pytest.mark.parametrize("known", [1.0, 0.7, 0.0])
def test_what_training_reads_is_what_the_oracle_says(known: float) -> None:
    matrix = _rows(2000, known)
    rows, columns = FeatureRows(matrix, NAMES), forecasts.Columns(matrix, NAMES)
    with np.errstate(all="ignore"):
        table = forecasts.inputs(columns)
    # Inputs are stored in 32 bits: a last digit of the logarithm may round either way.
    np.testing.assert_allclose(inputs.table(rows), table, rtol=3e-7, atol=1e-9)
    np.testing.assert_allclose(baselines.row_scale(rows), forecasts.scale(columns), rtol=1e-9)
    np.testing.assert_array_equal(baselines.reference_price(rows), forecasts.price(columns))
    for rule, name in zip(baselines.har_terms(rows).T, baselines.HAR_COLUMNS, strict=True):
        np.testing.assert_allclose(rule, forecasts.window(columns, name), rtol=1e-9)
    lines = _lines()
    wanted = np.column_stack([forecasts.linear(line, table) for line in lines])
    np.testing.assert_allclose(linear.predict(lines, table), wanted, rtol=1e-9)


def test_the_twins_agree_on_a_market(market: Dataset) -> None:
    rows, columns = market.rows(), forecasts.Columns(market.matrix, NAMES)
    np.testing.assert_allclose(inputs.table(rows), forecasts.inputs(columns), rtol=3e-7, atol=1e-6)
    for rules in RULES.values():
        wanted = forecasts.baseline(rules, columns)
        np.testing.assert_allclose(baselines.predict(rules, rows), wanted, rtol=1e-9)


def test_what_is_no_sum_of_trees_is_refused(boosters: tuple[xgboost.Booster, ...]) -> None:
    straight = _booster(0, booster="gblinear", max_depth=0)
    with pytest.raises(FatalError, match="gbtree"):
        pack([boosters[0].save_raw("json"), straight.save_raw("json")])


def test_a_saved_model_is_served_without_its_library(
    boosters: tuple[xgboost.Booster, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = _model("vol", *boosters)
    model.save(tmp_path)
    rows = _rows(5, 0.9)
    expected = model.forecast(rows).value
    monkeypatch.setattr(xgboost, "Booster", lambda *_: pytest.fail("asked XGBoost"))
    monkeypatch.setattr(forest, "pack", lambda _: pytest.fail("packed again"))
    again = forecaster.load(tmp_path)
    np.testing.assert_array_equal(again.forecast(rows).value, expected)
    kept = tmp_path / "forest.npz"
    kept.write_bytes(kept.read_bytes()[:1000])
    with pytest.raises(FatalError, match="download the model again"):
        forecaster.load(tmp_path)
