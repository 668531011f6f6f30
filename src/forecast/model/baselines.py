"""Simple rules that every model must beat, each a function of the feature row alone."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal

import numpy as np

from forecast.model.targets import Array, Target, floors
from lakehouse.settings import HORIZONS_S

RuleKind = Literal["persistence", "ewma", "har", "last", "tod"]
RULES: dict[Target, tuple[RuleKind, ...]] = {"bid": ("persistence",), "vol": ("ewma", "har", "last", "tod")}
HALF_LIVES_MIN = (5, 15, 30, 60, 120, 240)
EWMA_COLUMNS = tuple(f"ewma_rv_{half_life}m" for half_life in HALF_LIVES_MIN)
WINDOW_MIN = {"rv_1m": 1.0, "rv_5m": 5.0, "rv_15m": 15.0, "rv_1h": 60.0, "rv_4h": 240.0, "rv_24h": 1440.0}
DEFAULT_HALF_LIFE_MIN = 30
SCALE_HALF_LIFE_MIN = 15
HAR_COLUMNS = ("rv_5m", "rv_1h", "rv_24h")
PRICES = ("bid", "last", "mid")
TINY = 2e-10


class FeatureRows:
    """A feature matrix with its column names: the one way a rule or a model reads a row.

    Args:
        matrix: shape (rows, len(columns)); unknown values are NaN.
    """

    def __init__(self, matrix: Array, columns: Sequence[str]) -> None:
        self.matrix = matrix
        self._index = {name: position for position, name in enumerate(columns)}

    def __len__(self) -> int:
        return len(self.matrix)

    def __getitem__(self, name: str) -> Array:
        """The column; all NaN where this feature set lacks it."""
        position = self._index.get(name)
        return np.full(len(self.matrix), np.nan) if position is None else self.matrix[:, position]

    def block(self, names: Iterable[str]) -> Array:
        """Several columns, shape (rows, len(names)); all NaN where this feature set lacks one."""
        positions = np.array([self._index.get(name, -1) for name in names])
        values: Array = self.matrix[:, positions]
        if (positions < 0).any():
            values[:, positions < 0] = np.nan
        return values

    def first_known(self, *names: str) -> Array:
        """Per row, the first of the columns that is known."""
        value = self[names[0]]
        for name in names[1:]:
            if np.isfinite(value).all():
                return value
            value = np.where(np.isfinite(value), value, self[name])
        return value


@dataclass(frozen=True)
class Rule:
    """One simple rule for one horizon, with the few numbers it was tuned to."""

    kind: RuleKind
    params: Mapping[str, Any] = field(default_factory=dict)


def default_rules(target: Target) -> tuple[Rule, ...]:
    """The rules served from the first minute, before any training: persistence, and an EWMA of 30 minutes."""
    if target == "bid":
        return tuple(Rule("persistence") for _ in HORIZONS_S)
    return tuple(Rule("ewma", {"half_life_min": DEFAULT_HALF_LIFE_MIN}) for _ in HORIZONS_S)


def reference_price(rows: FeatureRows) -> Array:
    """The bid now; the last price where no bid is known."""
    return rows.first_known(*PRICES)


# Asked for with every row that is served, and always the same few answers.
@cache
def ewma_columns(half_life_min: int) -> tuple[str, ...]:
    """Columns of all half-lives, the nearest in length first."""
    nearest = sorted(HALF_LIVES_MIN, key=lambda other: abs(np.log(other / half_life_min)))
    return tuple(f"ewma_rv_{half_life}m" for half_life in nearest)


@cache
def half_life_of(window: str) -> int:
    """The half-life nearest in length to a window."""
    return min(HALF_LIVES_MIN, key=lambda h: abs(np.log(h / WINDOW_MIN[window] * 2)))


def ewma_variance(rows: FeatureRows, half_life_min: int) -> Array:
    """Variance per minute by EWMA; falls back to the other half-lives, nearest first, then to a tiny constant."""
    value = rows.first_known(*ewma_columns(half_life_min))
    return np.maximum(np.where(np.isfinite(value), value, TINY), TINY)


def window_log_variance(rows: FeatureRows, name: str) -> Array:
    """Log of a window's variance per minute; of the EWMA nearest in length where it is not yet covered."""
    known = rows[name]
    value = np.where(np.isfinite(known), known / WINDOW_MIN[name], ewma_variance(rows, half_life_of(name)))
    result: Array = np.log(np.maximum(value, TINY))
    return result


def _log_over(variance_per_minute: Array, minutes: float) -> Array:
    return np.asarray(np.log(variance_per_minute * minutes))


def _log_variance(rule: Rule, rows: FeatureRows, horizon_s: int) -> Array:
    minutes = horizon_s / 60.0
    if rule.kind == "ewma":
        return _log_over(ewma_variance(rows, rule.params["half_life_min"]), minutes)
    if rule.kind == "last":
        return np.asarray(window_log_variance(rows, rule.params["window"]) + np.log(minutes))
    if rule.kind == "tod":
        known = rows["rv_tod"]
        value = np.where(np.isfinite(known), known, ewma_variance(rows, rule.params["half_life_min"]))
        return _log_over(np.maximum(value, TINY), minutes)
    coefficients = rule.params["coefficients"]
    terms = [window_log_variance(rows, name) for name in HAR_COLUMNS]
    return np.asarray(coefficients[0] + np.column_stack(terms) @ np.asarray(coefficients[1:]))


def predict(rules: Sequence[Rule], target: Target, rows: FeatureRows) -> Array:
    """Each horizon's rule applied to each row, shape (rows, horizons): a price, or a floored volatility."""
    if target == "bid":
        return np.repeat(reference_price(rows)[:, None], len(rules), axis=1)
    log_variances = [_log_variance(rule, rows, h) for rule, h in zip(rules, HORIZONS_S, strict=True)]
    return np.maximum(np.exp(0.5 * np.column_stack(log_variances)), floors())


def row_scale(rows: FeatureRows) -> Array:
    """Expected volatility of the row per horizon (EWMA, half-life 15 min, floored), shape (rows, horizons)."""
    variance = ewma_variance(rows, SCALE_HALF_LIFE_MIN)[:, None] * (np.asarray(HORIZONS_S) / 60.0)
    return np.maximum(np.sqrt(variance), floors())
