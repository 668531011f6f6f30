"""The served model: a baseline rule, optionally a learnt correction, and the calibration of its intervals.

Everything is JSON or the library's own text format: no pickles. ``forecaster.json`` holds the rule, the linear part,
the shares and the calibration; ``model_{horizon}.json`` (XGBoost) or ``model_{horizon}.txt`` (LightGBM) one
single-output booster per horizon; ``forest.npz`` XGBoost's trees as the compiled walk reads them, packed once when
the model is saved.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from features.jit import jit
from forecast.model import correction_files, inputs, intervals
from forecast.model.baselines import (
    MINUTES,
    Rule,
    RuleColumns,
    RuleTable,
    error_scale,
    row_scale,
    row_scales,
    rule_columns,
    rule_table,
    rule_values,
)
from forecast.model.correction import Correction, CorrectionTable, fill_corrected, raw_margins
from forecast.model.forest import Forest, walk
from forecast.model.inputs import InputColumns, Inputs, fill_inputs, input_columns
from forecast.model.intervals import Calibration, fill_ends
from forecast.model.linear import fill_linear, stack
from forecast.model.model_files import FILE
from forecast.model.rows import FeatureRows
from forecast.model.targets import Array, Target, floors
from lakehouse.errors import FatalError
from lakehouse.settings import HORIZONS_S

if TYPE_CHECKING:
    import pandas as pd

FORMAT = 2
# Standard deviation of forecast errors before any is known: of log volatility, and of log returns per unit of the
# expected volatility.
FIRST_SIGMA: dict[Target, float] = {"vol": 0.5, "bid": 1.0}


class Prediction(NamedTuple):
    """Forecasts with their intervals, each array of shape (rows, horizons); units of the target."""

    value: Array
    lower: Array
    upper: Array
    lower_95: Array
    upper_95: Array
    baseline: Array


@dataclass(frozen=True)
class Forecaster:
    """A registered model, whether a baseline or a boosted one.

    Attributes:
        name: kind of model, e.g. ewma, best_rule, xgboost, lightgbm.
        target: bid (price) or vol (dimensionless).
        spec: hash of the feature definitions it was made for.
        columns: names of the feature matrix's columns, in order.
        rules: the best simple rule per horizon; also the baseline its forecasts are compared with.
        calibration: interval state when the model was made.
        correction: learnt on top of the rules; None for a baseline.
        info: provenance (dataset hash, metrics); not used in predicting.
    """

    name: str
    target: Target
    spec: str
    columns: tuple[str, ...]
    rules: tuple[Rule, ...]
    calibration: Calibration
    correction: Correction | None = None
    info: dict[str, Any] = field(default_factory=dict)

    @property
    def horizons_s(self) -> tuple[int, ...]:
        """Seconds ahead, one per output column."""
        return HORIZONS_S

    def predict(self, matrix: Array) -> Array:
        """The forecast, shape (rows, horizons): a price, or a floored volatility."""
        return self.forecast(matrix).value

    def forecast(self, matrix: Array, calibration: Calibration | None = None) -> Prediction:
        """The forecast, its 80 % and 95 % intervals and the baseline; a pure function of rows and calibration.

        Args:
            matrix: features, shape (rows, len(columns)); unknown values are NaN.
        """
        matrix = np.ascontiguousarray(matrix, dtype=np.float64)
        out = np.empty((len(Prediction._fields), len(matrix), len(HORIZONS_S)))
        quantiles = (calibration or self.calibration).array
        if self.correction is None:
            _forecast(self._formulas, quantiles, matrix, _NO_INPUTS, _NO_MARGINS, out)
        elif self.correction.library == "xgboost":
            _forecast_by_trees(self._formulas, self.correction.forest, quantiles, matrix, out)
        else:
            table = inputs.table(FeatureRows(matrix, self.columns))
            _forecast(self._formulas, quantiles, matrix, table, raw_margins(self.correction.boosters, table), out)
        return Prediction(*out)

    def residuals(self, truth: Array, value: Array, matrix: Array) -> Array:
        """Residuals as `intervals.update` takes them, from truths and served values (rows, horizons)."""
        scale = row_scale(FeatureRows(matrix, self.columns))
        return intervals.residual(truth, value, error_scale(self.target, scale))

    def save(self, folder: Path) -> None:
        """Writes ``forecaster.json`` and the boosters into ``folder``."""
        folder.mkdir(parents=True, exist_ok=True)
        body = {
            "format": FORMAT,
            "name": self.name,
            "target": self.target,
            "horizons_s": list(HORIZONS_S),
            "spec": self.spec,
            "columns": list(self.columns),
            "rules": [{"kind": rule.kind, "params": dict(rule.params)} for rule in self.rules],
            "calibration": json.loads(self.calibration.to_json()),
            "correction": correction_files.save(self.correction, folder) if self.correction else None,
            "info": self.info,
        }
        (folder / FILE).write_text(json.dumps(body, indent=1))

    @cached_property
    def _formulas(self) -> "_Formulas":
        table = self.correction.table if self.correction else _NO_CORRECTION
        is_vol = self.target == "vol"
        least = floors() if is_vol else np.full(len(HORIZONS_S), -np.inf)
        columns, rules = rule_columns(self.columns), rule_table(self.rules, self.columns)
        return _Formulas(is_vol, MINUTES, floors(), least, columns, rules, input_columns(self.columns), table)


class _Formulas(NamedTuple):
    """What `_forecast` combines; ``least``: what no forecast and no end of an interval may fall below."""

    is_vol: bool
    minutes: Array
    floors: Array
    least: Array
    columns: RuleColumns
    rules: RuleTable
    inputs: InputColumns
    correction: CorrectionTable


_NO_CORRECTION = CorrectionTable(stack((), 0), np.zeros((0, 2)))
_NO_INPUTS, _NO_MARGINS = np.empty((0, 0), np.float32), np.empty((0, 0))


@jit
def _forecast(
    formulas: _Formulas, quantiles: Array, matrix: Array, table: Inputs, margins: Array | Inputs, out: Array
) -> None:
    """Fills ``out`` with the fields of `Prediction`, shape (6, rows, horizons), in one compiled call.

    Args:
        table, margins: inputs and the boosters' margins; of no column where the rules are served as they are.
    """
    value, baseline, least = out[0], out[5], formulas.least
    rule_values(formulas.columns, formulas.rules, formulas.minutes, formulas.floors, matrix, baseline)
    scale = np.empty(baseline.shape)
    row_scales(formulas.columns, formulas.minutes, formulas.floors, matrix, scale)
    if margins.shape[1]:
        correction, shares = np.empty(baseline.shape), formulas.correction.shares
        fill_linear(formulas.correction.lines, table, correction)
        for j in range(len(shares)):
            correction[:, j] = correction[:, j] * shares[j, 0] + margins[:, j] * shares[j, 1]
        fill_corrected(formulas.is_vol, least, baseline, scale, correction, value)
    else:
        value[:] = baseline
    if formulas.is_vol:
        scale[:] = 1.0
    fill_ends(quantiles, value, scale, least, out[1:5])


@jit
def _forecast_by_trees(formulas: _Formulas, forest: Forest, quantiles: Array, matrix: Array, out: Array) -> None:
    """`_forecast` with inputs and XGBoost's margins computed in the same call: each call from Python costs µs."""
    table = np.empty((len(matrix), len(formulas.inputs.feature)), np.float32)
    fill_inputs(formulas.columns, formulas.inputs, matrix, table)
    margins = np.empty((len(matrix), len(forest.bases)), np.float32)
    walk(forest, table, margins)
    _forecast(formulas, quantiles, matrix, table, margins, out)


def load(folder: Path) -> Forecaster:
    """The forecaster saved in ``folder``.

    Raises:
        FatalError: the folder does not hold one this version can read.
    """
    try:
        body = json.loads((folder / FILE).read_text())
    except (OSError, ValueError) as error:
        raise FatalError(f"no readable {FILE} in {folder}: {error}; download the model again") from error
    if body["format"] != FORMAT or body["horizons_s"] != list(HORIZONS_S):
        raise FatalError(f"{folder / FILE} has format {body['format']}, this version reads {FORMAT}: train again")
    return Forecaster(
        body["name"],
        body["target"],
        body["spec"],
        tuple(body["columns"]),
        tuple(Rule(rule["kind"], rule["params"]) for rule in body["rules"]),
        Calibration.from_json(json.dumps(body["calibration"])),
        correction_files.load(folder, body["target"], body["correction"]) if body["correction"] else None,
        body["info"],
    )


def untrained(name: str, target: Target, rules: Sequence[Rule], spec: str, columns: Sequence[str]) -> Forecaster:
    """A rule with a default error distribution, made without data, so that it can be served before any training."""
    sigma = FIRST_SIGMA[target]
    calibration = intervals.normal(np.full(len(HORIZONS_S), sigma))
    return Forecaster(name, target, spec, tuple(columns), tuple(rules), calibration)


class _PyFunc:
    """Adapter to MLflow's pyfunc interface: a frame of named features in, one column per horizon out."""

    def __init__(self, forecaster: Forecaster) -> None:
        self._forecaster = forecaster

    def predict(self, frame: "pd.DataFrame", params: dict[str, Any] | None = None) -> "pd.DataFrame":
        """Values per horizon; ``params`` is MLflow's convention and has no meaning here."""
        # Only where MLflow itself asks: the API starts without it.
        import pandas as pd

        del params
        matrix = frame.reindex(columns=list(self._forecaster.columns)).to_numpy(dtype=np.float64)
        return pd.DataFrame(self._forecaster.predict(matrix), columns=[f"h{h}" for h in HORIZONS_S])


def _load_pyfunc(path: str) -> _PyFunc:
    """Called by MLflow (``loader_module``) with the folder of the artifact."""
    return _PyFunc(load(Path(path)))
