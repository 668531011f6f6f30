"""Walk-forward folds as data: fitted models and their out-of-sample forecasts, which the gate reads; pure."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from forecast.model.baselines import Rule
from forecast.model.correction import Library
from forecast.model.linear import Linear
from forecast.model.targets import Array


@dataclass(frozen=True)
class Fitted:
    """Models fitted to one training span: every rule, the best of them, and the corrections per horizon."""

    rules: dict[str, tuple[Rule, ...]]
    best: tuple[Rule, ...]
    linear: tuple[Linear, ...]
    boosters: dict[Library, tuple[Any, ...]]


@dataclass(frozen=True)
class Fold:
    """Out-of-sample forecasts of one stretch, all of shape (rows, horizons).

    Attributes:
        index: rows of the dataset. rule: the best rule by the training span. rules: every rule.
        linear: the linear correction. margins: the boosters' margins by library.
    """

    number: int
    index: np.ndarray
    rule: Array
    rules: dict[str, Array]
    linear: Array
    margins: dict[Library, Array]
    fitted: Fitted = field(repr=False)
