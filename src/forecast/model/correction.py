"""A learnt correction of a baseline rule: a linear model plus a booster fitted to its residuals, each with a weight.

    corrected = rule + share_linear·linear(row) + share_boosted·margin(row)

in log variance for volatility, and in log return per unit of the row's expected volatility for the bid. The shares are
the weights that earlier folds supported; with both 0 the rule is served unchanged.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np

from features.jit import jit
from forecast.model import forest, linear
from forecast.model.forest import Forest
from forecast.model.inputs import Inputs
from forecast.model.linear import Linear, Lines
from forecast.model.rows import at_least
from forecast.model.targets import Array, Target, floors

Library = Literal["xgboost", "lightgbm"]


class CorrectionTable(NamedTuple):
    """Linear parts and shares of all horizons, as the kernels take them; shares have shape (horizons, 2)."""

    lines: Lines
    shares: Array


@dataclass(frozen=True)
class Correction:
    """What was learnt for one target.

    Attributes:
        library: whose boosters they are.
        input_names: what linear models and boosters read, in order; see `inputs`.
        linear: one linear model per horizon.
        boosters: one single-output booster per horizon (numerical splits only).
        shares: per horizon, the shares of the linear part and of the booster's margin.
        packed: XGBoost's trees as they were saved; None: they are packed when first asked for.
    """

    target: Target
    library: Library
    input_names: tuple[str, ...]
    linear: tuple[Linear, ...]
    boosters: Sequence[Any]
    shares: tuple[tuple[float, float], ...]
    packed: Forest | None = None

    @cached_property
    def table(self) -> CorrectionTable:
        """Linear parts and shares as arrays."""
        lines = linear.stack(self.linear, len(self.input_names))
        return CorrectionTable(lines, np.array(self.shares, dtype=np.float64))

    @cached_property
    def forest(self) -> Forest:
        """XGBoost's trees as one array.

        Raises:
            FatalError: a booster is no sum of trees with numerical splits.
        """
        return self.packed or forest.pack([bytes(booster.save_raw("json")) for booster in self.boosters])


def apply(target: Target, baseline: Array, scale: Array, correction: Array) -> Array:
    """Rule and correction together, in the target's unit; all of shape (rows, horizons)."""
    out = np.empty_like(baseline)
    fill_corrected(target == "vol", floors(), baseline, scale, correction, out)
    return out


@jit
def fill_corrected(is_vol: bool, least: Array, baseline: Array, scale: Array, correction: Array, out: Array) -> None:
    """`apply`, into ``out``."""
    for r in range(len(baseline)):
        for j in range(baseline.shape[1]):
            if is_vol:
                out[r, j] = at_least(baseline[r, j] * np.exp(0.5 * correction[r, j]), least[j])
            else:
                out[r, j] = baseline[r, j] * np.exp(correction[r, j] * scale[r, j])


def raw_margin(booster: Any, table: Inputs) -> Array:
    """The booster's raw margin per row: a log multiplier of variance for vol, a scaled return for bid."""
    if hasattr(booster, "inplace_predict"):
        return np.asarray(booster.inplace_predict(table, predict_type="margin"), dtype=np.float64)
    return np.asarray(booster.predict(table, raw_score=True, num_threads=2), dtype=np.float64)


def raw_margins(boosters: Sequence[Any], table: Inputs) -> Array:
    """Raw margins by the boosters' own library, shape (rows, len(boosters))."""
    return np.column_stack([raw_margin(booster, table) for booster in boosters])
