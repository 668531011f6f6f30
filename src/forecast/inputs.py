"""What the models read: feature rows made free of level and unit, so that they carry over between markets and years."""

import numpy as np
import numpy.typing as npt

from forecast import baselines
from forecast.baselines import EWMA_COLUMNS, WINDOW_MIN, Rows

Inputs = npt.NDArray[np.float32]
_TINY = 2e-10
_VARIANCES = {"rv_10s": 1 / 6, **WINDOW_MIN, **dict.fromkeys((*EWMA_COLUMNS, "rv_tod"), 1.0)}
_PLAIN = ("tod_sin", "tod_cos", "dow")

NAMES: tuple[str, ...] = ("level", *(f"log_{name}" for name in _VARIANCES), *_PLAIN)


def table(rows: Rows) -> Inputs:
    """Inputs in the order of `NAMES`, shape (rows, len(NAMES)); unknown values stay NaN."""
    level = np.log(baselines.ewma_variance(rows, baselines.DEFAULT_HALF_LIFE_MIN))
    columns = [level]
    for name, minutes in _VARIANCES.items():
        columns.append(np.log(np.maximum(rows[name] / minutes, _TINY)) - level)
    columns += [rows[name] for name in _PLAIN]
    return np.column_stack(columns).astype(np.float32)
