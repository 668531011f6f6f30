"""Forecasters: saved and loaded they say the same; each row's forecast depends on that row alone."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from features.spec import NAMES
from forecast.data.dataset import Dataset
from forecast.model import baselines, forecaster, inputs, intervals, model_files
from forecast.model.correction import Correction, Library
from forecast.model.forecaster import Forecaster
from forecast.model.targets import TARGETS, Target
from forecast.training import fitting
from forecast.training.fitting import Sample, Tuning
from lakehouse.errors import FatalError

QUICK = Tuning(trees=8, depth=3, patience=5)


def learned_model(market: Dataset, target: Target, library: Library) -> Forecaster:
    table, truth = inputs.table(market.rows()), market.truth[target]
    rules = baselines.default_rules(target)
    rule = baselines.predict(rules, market.rows())
    label = fitting.labels(target, truth, rule, baselines.row_scale(market.rows()))
    lines, boosters = [], []
    for j in range(5):
        line = fitting.fit_linear(target, table, label[:, j], 500.0)
        sample = Sample(table, label[:, j], line.predict(table))
        lines.append(line)
        boosters.append(fitting.fit_booster(library, target, sample, sample, QUICK))
    parts = Correction(target, library, inputs.NAMES, tuple(lines), tuple(boosters), ((1.0, 0.5),) * 5)
    calibration = intervals.normal(np.full(5, 0.4))
    return Forecaster(library, target, "abc", NAMES, rules, calibration, parts, {"dataset": "d"})


@pytest.mark.parametrize("library", ["xgboost", "lightgbm"])
@pytest.mark.parametrize("target", TARGETS)
def test_a_saved_model_says_the_same(market: Dataset, tmp_path: Path, target: Target, library: Library) -> None:
    model = learned_model(market, target, library)
    model.save(tmp_path)
    again = forecaster.load(tmp_path)
    before, after = model.forecast(market.matrix[:50]), again.forecast(market.matrix[:50])
    for name, one, other in zip(before._fields, before, after, strict=True):
        assert np.array_equal(one, other), name
    assert not np.array_equal(before.value, before.baseline)
    assert again.calibration.id == model.calibration.id
    assert {p.suffix for p in tmp_path.iterdir()} <= {".json", ".txt", ".npz"}


@pytest.mark.parametrize("target", TARGETS)
def test_a_forecast_depends_on_its_row_alone(market: Dataset, target: Target) -> None:
    model = learned_model(market, target, "xgboost")
    together = model.predict(market.matrix[:20])
    apart = np.vstack([model.predict(market.matrix[k : k + 1]) for k in range(20)])
    assert apart == pytest.approx(together, rel=1e-12)


@pytest.mark.parametrize("target", TARGETS)
def test_a_baseline_round_trips_and_is_its_own_baseline(market: Dataset, tmp_path: Path, target: Target) -> None:
    rules = baselines.default_rules(target)
    model = forecaster.untrained("rule", target, rules, "abc", NAMES)
    model.save(tmp_path)
    got = forecaster.load(tmp_path).forecast(market.matrix[:5])
    assert np.array_equal(got.value, got.baseline)
    assert (got.lower_95 <= got.lower).all() and (got.upper <= got.upper_95).all()


def test_unknown_features_give_a_forecast_all_the_same(market: Dataset) -> None:
    matrix = np.full((1, len(NAMES)), np.nan)
    matrix[0, NAMES.index("last")] = 100.0
    for target in TARGETS:
        assert np.isfinite(learned_model(market, target, "xgboost").predict(matrix)).all()


def test_a_broken_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / model_files.FILE).write_text("{")
    with pytest.raises(FatalError, match=str(tmp_path)):
        forecaster.load(tmp_path)


def test_a_model_of_other_inputs_is_refused(market: Dataset, tmp_path: Path) -> None:
    model = learned_model(market, "vol", "xgboost")
    assert model.correction is not None
    replace(model, correction=replace(model.correction, input_names=inputs.NAMES[:-1])).save(tmp_path)
    with pytest.raises(FatalError, match="train again"):
        forecaster.load(tmp_path)


def test_serving_and_scoring_start_without_what_only_training_needs() -> None:
    program = "import sys, forecast.serve, forecast.score; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert "forecast.model.correction" in loaded and {"lightgbm", "optuna", "matplotlib"}.isdisjoint(loaded)
