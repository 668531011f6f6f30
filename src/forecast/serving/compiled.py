"""A forecaster as one compiled call per request, held against the plain one before it is used.

Its `KernelPlan` is made from the tables in which `inputs` and `baselines` state their formulas, so that a feature added
there is added here; a formula changed there and not in `kernel` makes the comparison fail, and the plain way serves.
"""

import hashlib
import logging
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from features.spec import NAMES
from forecast.model import baselines, correction, forecaster, inputs, intervals, linear, targets
from forecast.model.forecaster import Forecaster, Prediction
from forecast.model.inputs import Inputs
from forecast.model.targets import Array
from forecast.serving import forest, kernel, plan
from forecast.serving.forest import Forest
from forecast.serving.kernel import KernelPlan, Trees
from lakehouse.settings import HORIZONS_S

log = logging.getLogger(__name__)
TOLERANCE = 1e-9
# No other thread of Python's runs during one call of the kernel: about a millisecond for so many rows.
ROWS_AT_ONCE = 64
FIELDS = len(fields(Prediction))


@dataclass(frozen=True)
class Compiled:
    """A forecaster for rows whose columns are those it was compiled for; see `compile_forecaster`."""

    plan: KernelPlan
    trees: Trees

    def forecast(self, matrix: Array, quantiles: Array) -> Prediction:
        """As `Forecaster.forecast`, with a calibration's quantiles (horizons, levels)."""
        matrix, parts = np.ascontiguousarray(matrix), []
        for start in range(0, max(1, len(matrix)), ROWS_AT_ONCE):
            rows = matrix[start : start + ROWS_AT_ONCE]
            parts.append(np.empty((FIELDS, len(rows), len(HORIZONS_S))))
            kernel.forecast(self.plan, self.trees, quantiles, rows, parts[-1])
        return Prediction(*(parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)))


def compile_forecaster(forecaster: Forecaster, columns: Sequence[str], folder: Path | None = None) -> Compiled | None:
    """The forecaster compiled for rows of these columns; None where it must be served the plain way, which is logged.

    Args:
        folder: the forecaster's own; packed trees that were found right are kept there for the next start.
    """
    correction = forecaster.learned
    if correction is not None and correction.library != "xgboost":
        log.info("%s trees are walked by their library", correction.library)
        return None
    places = plan.plan_of(forecaster, columns)
    kept = _kept(folder) if folder and correction else None
    if kept and (proven := _read(kept)) is not None:
        return Compiled(places, proven.trees)
    try:
        packed = forest.pack(correction.boosters if correction else ())
    except (KeyError, ValueError) as error:
        log.warning("trees stay with XGBoost: not a plain forest of numerical splits: %r", error)
        return None
    compiled = Compiled(places, packed.trees)
    if not _agrees(compiled, forecaster, columns):
        return None
    if kept:
        packed.save(kept)
    return compiled


def compile_apart(forecaster: Forecaster, folder: Path) -> None:
    """Packs and proves the forecaster's trees, unless its folder keeps them, in a process that gives way to all others.

    What it keeps there spares the caller the boosters' library and the seconds in which no other thread would run;
    where it fails, `compile_forecaster` does all by itself.
    """
    correction = forecaster.learned
    if correction is not None and correction.library == "xgboost" and not _kept(folder).exists():
        subprocess.run((sys.executable, "-m", __name__, str(folder)), check=False)


def main() -> None:
    """``python -m forecast.serving.compiled FOLDER``"""
    os.nice(10)
    folder = Path(sys.argv[1])
    compile_forecaster(forecaster.load(folder), NAMES, folder)


def _agrees(compiled: Compiled, forecaster: Forecaster, columns: Sequence[str]) -> bool:
    """Whether both ways give the same on random rows and, walked alone, on inputs at the trees' own thresholds."""
    take = [list(columns).index(name) for name in forecaster.columns]
    rows = _random_rows(columns)
    with np.errstate(all="ignore"):
        plain = forecaster.forecast(rows[:, take])
    quick = compiled.forecast(rows, np.asarray(forecaster.calibration.quantiles))
    worst = max(_worst(getattr(quick, f.name), getattr(plain, f.name)) for f in fields(Prediction))
    if (correction := forecaster.learned) is not None:
        table = _random_inputs(compiled.trees, len(correction.input_names))
        margins = np.empty((len(table), len(HORIZONS_S)), np.float32)
        kernel.walk(compiled.trees, table, margins)
        worst = max(worst, _worst(margins, correction.margins(table)))
    if not worst <= TOLERANCE:
        log.error("%s is served the plain way: compiled it differs by %.1e", forecaster.name, worst)
    return bool(worst <= TOLERANCE)


def _worst(ours: npt.NDArray[Any], theirs: Array) -> float:
    return float(np.max(np.abs(ours - theirs) / np.maximum(np.abs(theirs), np.abs(theirs).mean() + 1e-300)))


def _random_rows(columns: Sequence[str], count: int = 256) -> Array:
    """Rows of all sizes a market has, a tenth of the values missing, prices close together."""
    rng = np.random.default_rng(11)
    rows = np.exp(rng.normal(-8.0, 4.0, (count, len(columns))))
    rows[rng.random(rows.shape) < 0.1] = np.nan
    for name in ("tod_sin", "tod_cos"):
        if name in columns:
            rows[:, list(columns).index(name)] = rng.normal(0.0, 1.0, count)
    for name in ("bid", "ask", "mid", "last", "microprice"):
        if name in columns:
            rows[:, list(columns).index(name)] = 100.0 + rng.normal(0.0, 0.1, count)
    return rows


def _random_inputs(trees: Trees, width: int, count: int = 256) -> Inputs:
    """Inputs around the trees' own thresholds, a tenth of them missing, and some exactly on a threshold."""
    rng = np.random.default_rng(11)
    table = rng.normal(0.0, 3.0, (count, width)).astype(np.float32)
    inner = trees.nodes[np.isfinite(trees.nodes["threshold"])]
    picked = inner[rng.integers(0, len(inner), 20 * count)] if len(inner) else inner
    table[rng.integers(0, count, len(picked)), picked["feature"]] = picked["threshold"]
    table[rng.random(table.shape) < 0.1] = np.nan
    return table


def _read(kept: Path) -> Forest | None:
    try:
        return Forest.load(kept)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, BadZipFile) as error:
        log.warning("packing the trees anew, %s is damaged: %r", kept, error)
        return None


def _kept(folder: Path) -> Path:
    return folder / f"forest-{_code()}.npz"


@cache
def _code() -> str:
    """Names the code on both sides of the comparison: once any of it changes, everything is proven anew."""
    modules = (baselines, intervals, inputs, correction, linear, forecaster, targets, forest, kernel, plan)
    files = [Path(str(module.__file__)) for module in modules]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]


if __name__ == "__main__":
    main()
