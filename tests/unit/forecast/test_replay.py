"""Replayed forecasts: what the recorded model gives agrees, and any other value, calibration or missing row shows."""

import numpy as np
import polars as pl
import pytest

from features.spec import NAMES
from forecast.replay import forecasts_that_differ
from forecast.serving.models_in_service import ServedModel, accept
from forecast.serving.registry_watcher import simple_rule
from lakehouse.settings import HORIZONS_S

ROWS = 35


@pytest.fixture
def rule() -> ServedModel:
    """The rule that serves without a registry."""
    return accept(0, simple_rule("vol", NAMES, "abc"), "vol", NAMES, "abc")


@pytest.fixture
def silver() -> pl.DataFrame:
    """Feature rows; some columns unknown."""
    values = np.random.default_rng(3).uniform(1e-6, 1e-4, (ROWS, len(NAMES)))
    frame = pl.DataFrame(values, schema=list(NAMES)).with_columns(pl.lit(None, pl.Float64).alias("rv_tod"))
    return frame.with_columns(epoch=pl.lit(1, pl.Int64), seq=pl.int_range(pl.len()))


@pytest.fixture
def served(rule: ServedModel, silver: pl.DataFrame) -> pl.DataFrame:
    """What was served for the rows, one request each."""
    rows = []
    for row in silver.iter_rows(named=True):
        matrix = np.array([[row[name] if row[name] is not None else np.nan for name in NAMES]])
        made = rule.forecast(matrix)
        for i, horizon in enumerate(HORIZONS_S):
            values = {name: float(getattr(made, name)[0, i]) for name in made._fields}
            rows.append({"epoch": 1, "seq": row["seq"], "horizon_s": horizon, "model_version": "vol/0"} | values)
    return pl.DataFrame(rows, schema_overrides={"horizon_s": pl.Int32}).with_columns(
        calibration=pl.lit(rule.calibration_id)
    )


def test_what_was_served_comes_out_again(rule: ServedModel, silver: pl.DataFrame, served: pl.DataFrame) -> None:
    assert served.height == ROWS * len(HORIZONS_S)
    assert forecasts_that_differ(served, silver, lambda *_: rule) == 0


def test_a_value_off_by_more_than_the_tolerance_shows(
    rule: ServedModel, silver: pl.DataFrame, served: pl.DataFrame
) -> None:
    first = pl.int_range(pl.len()) == 0
    off = served.with_columns(value=pl.when(first).then(pl.col("value") * (1 + 1e-8)).otherwise("value"))
    assert forecasts_that_differ(off, silver, lambda *_: rule) == 1
    near = served.with_columns(value=pl.when(first).then(pl.col("value") * (1 + 1e-12)).otherwise("value"))
    assert forecasts_that_differ(near, silver, lambda *_: rule) == 0


def test_another_calibration_and_a_missing_row_show(
    rule: ServedModel, silver: pl.DataFrame, served: pl.DataFrame
) -> None:
    assert forecasts_that_differ(served.with_columns(calibration=pl.lit("?")), silver, lambda *_: rule) == served.height
    assert forecasts_that_differ(served, silver[1:], lambda *_: rule) == len(HORIZONS_S)
    assert forecasts_that_differ(served, silver.clear(), lambda *_: rule) == served.height
