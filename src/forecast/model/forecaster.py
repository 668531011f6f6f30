"""The one artifact that is served: a simple rule, with or without a learnt correction, and its calibration.

Everything is JSON or the library's own text format: no pickles. ``forecaster.json`` holds the rule, the linear part,
the shares and the calibration; ``model_{horizon}.json`` (XGBoost) or ``model_{horizon}.txt`` (LightGBM) one
single-output booster per horizon.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from forecast.model import baselines, intervals
from forecast.model.baselines import FeatureRows, Rule
from forecast.model.correction import Correction
from forecast.model.intervals import Calibration
from forecast.model.targets import Array, Target, floors
from lakehouse.errors import FatalError
from lakehouse.settings import HORIZONS_S

if TYPE_CHECKING:
    import pandas as pd

FORMAT = 1
FILE = "forecaster.json"


@dataclass(frozen=True)
class Prediction:
    """Forecasts with their intervals, each array of shape (rows, horizons); units of the target."""

    value: Array
    lower: Array
    upper: Array
    lower_95: Array
    upper_95: Array
    baseline: Array


class ServableModel(Protocol):
    """What the API needs of a model."""

    @property
    def target(self) -> Target:
        """bid or vol."""
        ...

    @property
    def columns(self) -> tuple[str, ...]:
        """The feature columns, in the order in which `predict` takes them."""
        ...

    def predict(self, matrix: Array) -> Array:
        """Values, shape (rows, horizons), from features of shape (rows, len(columns))."""
        ...

    def forecast(self, matrix: Array, calibration: Calibration | None = None) -> Prediction:
        """Values with intervals and the baseline."""
        ...


@dataclass(frozen=True)
class Forecaster:
    """A registered model: baseline or booster alike.

    Attributes:
        name: what serves, e.g. ewma, best_rule, xgboost, lightgbm.
        target: bid (price) or vol (dimensionless).
        spec: hash of the feature definitions it was made for.
        columns: feature columns in matrix order.
        rules: the best simple rule per horizon; also the baseline its forecasts are compared with.
        calibration: the state of its intervals when it was made.
        learned: the correction on top of the rules; None for a baseline.
        info: how it came about (dataset hash, figures); not used in predicting.
    """

    name: str
    target: Target
    spec: str
    columns: tuple[str, ...]
    rules: tuple[Rule, ...]
    calibration: Calibration
    learned: Correction | None = None
    info: dict[str, Any] = field(default_factory=dict)

    @property
    def horizons_s(self) -> tuple[int, ...]:
        """Seconds ahead, one per output column."""
        return HORIZONS_S

    @property
    def boosters(self) -> Sequence[Any]:
        """The native boosters, one per horizon; empty for a baseline."""
        return self.learned.boosters if self.learned else ()

    def baseline(self, matrix: Array) -> Array:
        """What the best simple rule says, shape (rows, horizons)."""
        return baselines.predict(self.rules, self.target, FeatureRows(matrix, self.columns))

    def predict(self, matrix: Array) -> Array:
        """The forecast, shape (rows, horizons): a price, or a floored volatility."""
        return self._predict(FeatureRows(matrix, self.columns), self.baseline(matrix))

    def forecast(self, matrix: Array, calibration: Calibration | None = None) -> Prediction:
        """The forecast, its 80 % and 95 % intervals and the baseline; a pure function of rows and calibration."""
        rows = FeatureRows(matrix, self.columns)
        baseline = baselines.predict(self.rules, self.target, rows)
        value = self._predict(rows, baseline)
        ends = intervals.bounds(calibration or self.calibration, value, self._scale(rows))
        if self.target == "vol":
            ends = tuple(np.maximum(end, floors()) for end in ends)  # type: ignore[assignment]
        return Prediction(value, *ends, baseline)

    def residuals(self, truth: Array, value: Array, matrix: Array) -> Array:
        """Residuals as `intervals.update` takes them, from truths and served values (rows, horizons)."""
        return intervals.residual(truth, value, self._scale(FeatureRows(matrix, self.columns)))

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
            "learned": self.learned.save(folder) if self.learned else None,
            "info": self.info,
        }
        (folder / FILE).write_text(json.dumps(body, indent=1))

    def _scale(self, rows: FeatureRows) -> Array:
        return np.ones((len(rows), len(HORIZONS_S))) if self.target == "vol" else baselines.row_scale(rows)

    def _predict(self, rows: FeatureRows, baseline: Array) -> Array:
        return self.learned.predict(rows, baseline) if self.learned else baseline


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
        Correction.load(folder, body["target"], body["learned"]) if body["learned"] else None,
        body["info"],
    )


def make_baseline(
    name: str, target: Target, rules: Sequence[Rule], spec: str, columns: Sequence[str], calibration: Calibration
) -> Forecaster:
    """A forecaster that is nothing but a simple rule."""
    return Forecaster(name, target, spec, tuple(columns), tuple(rules), calibration)


class _PyFunc:
    """MLflow's face of a forecaster: a frame of named features in, one column per horizon out."""

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
