"""Packs a forecaster as an MLflow pyfunc model: loader module, plain files instead of pickles, signature, tags."""

import warnings
from pathlib import Path

import mlflow.pyfunc
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, Schema

from forecast.model import model_files
from forecast.model.forecaster import Forecaster
from forecast.registry.version import code_version
from lakehouse.settings import HORIZONS_S

# Where `pack` puts the forecaster's own files inside MLflow's folder.
DATA = Path("data") / "forecaster"


def pack(forecaster: Forecaster, folder: Path) -> Path:
    """The forecaster as an MLflow model: pyfunc by loader module and data, a signature, no pickles."""
    forecaster.save(folder / "forecaster")
    inputs = Schema([ColSpec("double", name, required=False) for name in forecaster.columns])
    outputs = Schema([ColSpec("double", f"h{horizon}") for horizon in HORIZONS_S])
    with warnings.catch_warnings():
        # MLflow asks for an example of the inputs, only to run the model on it; the signature is written by hand.
        warnings.simplefilter("ignore", UserWarning)
        mlflow.pyfunc.save_model(
            str(folder / "model"),
            loader_module="forecast.model.forecaster",
            data_path=str(folder / "forecaster"),
            signature=ModelSignature(inputs, outputs),
            metadata=tags(forecaster),
            pip_requirements=["tradelake"],
        )
    return folder / "model"


def digest(packed: Path) -> str:
    """Names a packed forecaster by its own files: 16 hex digits."""
    return model_files.digest(packed / DATA)


def tags(forecaster: Forecaster) -> dict[str, str]:
    """What the version is tagged with: kind, feature spec, code version, and the forecaster's own notes."""
    known = {key: str(value) for key, value in forecaster.info.items() if isinstance(value, str | int | float)}
    return {"kind": forecaster.name, "spec": forecaster.spec, "code": code_version(), **known}
