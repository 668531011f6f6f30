"""The learnt correction of a simple rule: a linear part and a booster on top of it, each with an earned share.

    corrected = rule + share_linear·linear(row) + share_boosted·margin(row)

in log variance for volatility, and in log return per unit of the row's expected volatility for the bid. The shares are
what earlier folds justified; both 0 means that the rule is served as it is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from forecast.model import baselines, inputs
from forecast.model.baselines import FeatureRows
from forecast.model.linear import Linear
from forecast.model.targets import Array, Target, floors
from lakehouse.settings import HORIZONS_S

Inputs = npt.NDArray[np.float32]
Library = Literal["xgboost", "lightgbm"]


@dataclass(frozen=True)
class Correction:
    """What was learnt for one target.

    Attributes:
        library: whose boosters they are.
        input_names: what linear models and boosters read, in order; see `inputs`.
        linear: one linear model per horizon.
        boosters: one single-output booster per horizon (numerical splits only).
        shares: per horizon, the shares of the linear part and of the booster's margin.
    """

    target: Target
    library: Library
    input_names: tuple[str, ...]
    linear: tuple[Linear, ...]
    boosters: Sequence[Any]
    shares: tuple[tuple[float, float], ...]

    def predict(self, rows: FeatureRows, baseline: Array) -> Array:
        """The corrected forecast in the target's unit, from the rules' forecast; both of shape (rows, horizons)."""
        table = inputs.table(rows)
        margins = self.margins(table)
        straight = np.column_stack([line.predict(table) for line in self.linear])
        shares = np.asarray(self.shares)
        return apply(self.target, baseline, baselines.row_scale(rows), straight * shares[:, 0] + margins * shares[:, 1])

    def margins(self, table: Inputs) -> Array:
        """Raw margins of the native boosters, shape (rows, horizons)."""
        return np.column_stack([raw_margin(booster, table) for booster in self.boosters])

    def save(self, folder: Path) -> dict[str, Any]:
        """Writes the boosters; returns the rest as JSON-able values."""
        for booster, horizon in zip(self.boosters, HORIZONS_S, strict=True):
            booster.save_model(str(folder / _file(self.library, horizon)))
        return {
            "library": self.library,
            "inputs": list(self.input_names),
            "linear": [line.to_dict() for line in self.linear],
            "shares": [list(row) for row in self.shares],
        }

    @staticmethod
    def load(folder: Path, target: Target, body: dict[str, Any]) -> "Correction":
        """The inverse of `save`."""
        return Correction(
            target,
            body["library"],
            tuple(body["inputs"]),
            tuple(Linear.from_dict(line) for line in body["linear"]),
            SavedBoosters(body["library"], folder),
            tuple((row[0], row[1]) for row in body["shares"]),
        )


def apply(target: Target, baseline: Array, scale: Array, correction: Array) -> Array:
    """Rule and correction together, in the target's unit; all of shape (rows, horizons)."""
    if target == "bid":
        return np.asarray(baseline * np.exp(correction * scale))
    return np.maximum(baseline * np.exp(0.5 * correction), floors())


def raw_margin(booster: Any, table: Inputs) -> Array:
    """The booster's raw margin per row: a log multiplier of variance for vol, a scaled return for bid."""
    if hasattr(booster, "inplace_predict"):
        return np.asarray(booster.inplace_predict(table, predict_type="margin"), dtype=np.float64)
    return np.asarray(booster.predict(table, raw_score=True, num_threads=2), dtype=np.float64)


class SavedBoosters(Sequence[Any]):
    """The boosters of a folder, one per horizon, loaded when first asked for.

    The libraries take seconds to import, and the API, which walks the trees itself, starts without them.
    """

    def __init__(self, library: Library, folder: Path) -> None:
        self._library = library
        self._folder = folder

    def __len__(self) -> int:
        return len(HORIZONS_S)

    def __getitem__(self, index: Any) -> Any:
        return self._loaded[index]

    @cached_property
    def _loaded(self) -> list[Any]:
        return [_load_booster(self._library, self._folder / _file(self._library, h)) for h in HORIZONS_S]


def _file(library: Library, horizon: int) -> str:
    return f"model_{horizon}.{'json' if library == 'xgboost' else 'txt'}"


def _load_booster(library: Library, path: Path) -> Any:
    if library == "lightgbm":
        import lightgbm

        return lightgbm.Booster(model_file=str(path))
    import xgboost

    return xgboost.Booster({"nthread": 1}, model_file=str(path))
