"""Saves and loads a correction: each booster in its library's format, XGBoost's trees also packed for serving."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forecast.model import forest, inputs
from forecast.model.correction import Correction, Library
from forecast.model.linear import Linear
from forecast.model.targets import Target
from lakehouse.errors import FatalError
from lakehouse.settings import HORIZONS_S

FOREST = "forest.npz"


def save(correction: Correction, folder: Path) -> dict[str, Any]:
    """Writes the boosters, XGBoost's packed as well; returns the rest as JSON-able values."""
    for booster, horizon in zip(correction.boosters, HORIZONS_S, strict=True):
        booster.save_model(str(folder / _file(correction.library, horizon)))
    if correction.library == "xgboost":
        correction.forest.save(folder / FOREST)
    return {
        "library": correction.library,
        "inputs": list(correction.input_names),
        "linear": [line.to_dict() for line in correction.linear],
        "shares": [list(row) for row in correction.shares],
    }


def names(library: Library) -> list[str]:
    """The files that `save` writes."""
    return [*(_file(library, horizon) for horizon in HORIZONS_S), *([FOREST] if library == "xgboost" else [])]


def load(folder: Path, target: Target, body: dict[str, Any]) -> Correction:
    """The inverse of `save`.

    Raises:
        FatalError: it reads other inputs than this version makes, or its packed trees cannot be read.
    """
    if tuple(body["inputs"]) != inputs.NAMES:
        raise FatalError(f"the model in {folder} expects other inputs than this version computes: train again")
    library: Library = body["library"]
    return Correction(
        target,
        library,
        inputs.NAMES,
        tuple(Linear.from_dict(line) for line in body["linear"]),
        tuple(_load_booster(library, folder / _file(library, horizon)) for horizon in HORIZONS_S),
        tuple((row[0], row[1]) for row in body["shares"]),
        forest.load(folder / FOREST, len(inputs.NAMES)) if library == "xgboost" else None,
    )


@dataclass(frozen=True)
class SavedXGBoost:
    """An XGBoost booster's file: the trees are read from it without XGBoost, which takes seconds to import."""

    path: Path

    def save_raw(self, raw_format: str) -> bytes:
        """The model in XGBoost's JSON format, the only one that is kept."""
        if raw_format != "json":
            raise ValueError(f"{self.path} holds JSON, not {raw_format}")
        return self.path.read_bytes()

    def save_model(self, path: str) -> None:
        """Copies the file."""
        Path(path).write_bytes(self.path.read_bytes())


def _file(library: Library, horizon: int) -> str:
    return f"model_{horizon}.{'json' if library == 'xgboost' else 'txt'}"


def _load_booster(library: Library, path: Path) -> Any:
    if library == "lightgbm":
        import lightgbm

        return lightgbm.Booster(model_file=str(path))
    return SavedXGBoost(path)
