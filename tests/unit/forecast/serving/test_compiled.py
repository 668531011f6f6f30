"""A compiled forecaster says what the plain one says, its trees bit for bit, or it is not used."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xgboost

from features.spec import NAMES
from forecast.model import forecaster, inputs
from forecast.model.baselines import FeatureRows, Rule
from forecast.model.correction import Correction, Inputs
from forecast.model.forecaster import Forecaster, Prediction
from forecast.model.linear import Linear
from forecast.model.targets import TARGETS, Array, Target
from forecast.serving import compiled, forest
from forecast.serving.compiled import compile_forecaster
from forecast.serving.forest import pack
from forecast.serving.registry_watcher import simple_rule
from lakehouse.settings import HORIZONS_S

WIDTH = len(inputs.NAMES)
FIELDS = tuple(Prediction.__dataclass_fields__)
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


def _model(target: Target, *boosters: xgboost.Booster) -> Forecaster:
    rng = np.random.default_rng(4)
    lines = []
    for j in range(5):
        columns = tuple(range(j, WIDTH, 2))
        mean, sd = rng.uniform(0.5, 1.5, (2, len(columns)))
        lines.append(Linear(columns, mean, sd, 0.1, rng.normal(0, 0.02, len(columns))))
    shares = ((1.0, 0.5), (0.5, 0.25), (0.0, 0.1), (0.3, 0.0), (0.0, 0.0))
    learned = Correction(target, "xgboost", inputs.NAMES, tuple(lines), boosters, shares)
    plain = simple_rule(target, NAMES, "abc")
    return replace(plain, name="xgboost", rules=RULES[target], learned=learned)


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
    learned, packed = _model("vol", *boosters).learned, pack(boosters)
    assert learned is not None
    table = _table(500, seed=9)
    table[0], table[1] = np.nan, 0.0
    table[2], table[3] = 3e38, -3e38
    np.testing.assert_array_equal(packed.margins(table), learned.margins(table))
    thresholds = packed.nodes["threshold"][np.isfinite(packed.nodes["threshold"])]
    on_them = np.repeat(thresholds[:300, None], WIDTH, axis=1).astype(np.float32)
    np.testing.assert_array_equal(packed.margins(on_them), learned.margins(on_them))


@pytest.mark.parametrize("known", [1.0, 0.7, 0.0])
@pytest.mark.parametrize("target", TARGETS)
def test_it_says_what_the_plain_forecaster_says(
    boosters: tuple[xgboost.Booster, ...], target: Target, known: float
) -> None:
    for model in (_model(target, *boosters), replace(_model(target, *boosters), learned=None)):
        quick = compile_forecaster(model, NAMES)
        assert quick is not None
        rows = _rows(200, known)
        with np.errstate(all="ignore"):
            plain = model.forecast(rows)
        got = quick.forecast(rows, np.asarray(model.calibration.quantiles))
        for name in FIELDS:
            np.testing.assert_allclose(getattr(got, name), getattr(plain, name), rtol=1e-9, err_msg=name)
        alone = [quick.forecast(row[None], np.asarray(model.calibration.quantiles)).value for row in rows]
        np.testing.assert_array_equal(np.concatenate(alone), got.value)


def test_columns_in_another_order_and_missing_ones(boosters: tuple[xgboost.Booster, ...]) -> None:
    few = tuple(name for name in reversed(NAMES) if not name.startswith("h24_") and name != "rv_tod")
    model = replace(_model("vol", *boosters), columns=few)
    quick = compile_forecaster(model, NAMES)
    assert quick is not None
    rows = _rows(20, 0.9)
    plain = model.forecast(rows[:, [NAMES.index(name) for name in few]])
    got = quick.forecast(rows, np.asarray(model.calibration.quantiles))
    np.testing.assert_allclose(got.value, plain.value, rtol=1e-9)


def test_what_differs_is_not_used(boosters: tuple[xgboost.Booster, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(boosters: tuple[xgboost.Booster, ...]) -> forest.Forest:
        packed = pack(boosters)
        leaves = packed.leaves.copy()
        leaves[np.flatnonzero(leaves)[0]] *= 1.5
        return replace(packed, leaves=leaves)

    monkeypatch.setattr(forest, "pack", wrong)
    assert compile_forecaster(_model("vol", *boosters), NAMES) is None


def test_a_formula_changed_in_one_place_only_is_found(
    boosters: tuple[xgboost.Booster, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inputs, "table", _changed)
    assert compile_forecaster(_model("vol", *boosters), NAMES) is None


_TABLE = inputs.table


def _changed(rows: FeatureRows) -> Inputs:
    table = _TABLE(rows)
    table[:, inputs.NAMES.index("spread")] *= 1.01
    return table


def test_what_is_no_plain_forest_stays_with_its_library(boosters: tuple[xgboost.Booster, ...]) -> None:
    model = _model("vol", *boosters)
    assert model.learned is not None
    assert compile_forecaster(replace(model, learned=replace(model.learned, library="lightgbm")), NAMES) is None
    linear = _booster(0, booster="gblinear", max_depth=0)
    assert compile_forecaster(_model("vol", *(linear,) * len(HORIZONS_S)), NAMES) is None


def test_a_second_start_needs_neither_the_boosters_nor_their_library(
    boosters: tuple[xgboost.Booster, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = _model("vol", *boosters)
    model.save(tmp_path)
    first = compile_forecaster(model, NAMES)
    compiled.compile_apart(model, tmp_path)
    monkeypatch.setattr(forest, "pack", lambda _: pytest.fail("packed again"))
    again = compile_forecaster(forecaster.load(tmp_path), NAMES, tmp_path)
    assert first is not None
    assert again is not None
    rows, quantiles = _rows(5, 0.9), np.asarray(model.calibration.quantiles)
    np.testing.assert_array_equal(again.forecast(rows, quantiles).value, first.forecast(rows, quantiles).value)
    (kept,) = tmp_path.glob("forest-*.npz")
    kept.write_bytes(kept.read_bytes()[:1000])
    with pytest.raises(pytest.fail.Exception, match="packed again"):
        compile_forecaster(forecaster.load(tmp_path), NAMES, tmp_path)
    monkeypatch.setattr(compiled, "_code", lambda: "other code")
    with pytest.raises(pytest.fail.Exception, match="packed again"):
        compile_forecaster(forecaster.load(tmp_path), NAMES, tmp_path)
