"""Baseline forecasts that every model must beat, called rules; each is a function of one feature row."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal, NamedTuple

import numpy as np

from features.jit import inlined, jit
from features.spec import HALF_LIVES_MIN
from forecast.model.rows import FeatureRows, at_least, first_known, positions, value_at
from forecast.model.targets import Array, Target, floors
from lakehouse.arrays import Ints
from lakehouse.settings import HORIZONS_S

RuleKind = Literal["persistence", "ewma", "har", "last", "tod"]
RULES: dict[Target, tuple[RuleKind, ...]] = {"bid": ("persistence",), "vol": ("ewma", "har", "last", "tod")}
EWMA_COLUMNS = tuple(f"ewma_rv_{half_life}m" for half_life in HALF_LIVES_MIN)
WINDOW_MIN = {"rv_1m": 1.0, "rv_5m": 5.0, "rv_15m": 15.0, "rv_1h": 60.0, "rv_4h": 240.0, "rv_24h": 1440.0}
DEFAULT_HALF_LIFE_MIN = 30
SCALE_HALF_LIFE_MIN = 15
HAR_COLUMNS = ("rv_5m", "rv_1h", "rv_24h")
PRICES = ("bid", "last", "mid")
# Least variance per minute: the logarithm of a still market must exist.
TINY = 2e-10


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


def first_rules(target: Target) -> tuple[tuple[str, tuple[Rule, ...]], ...]:
    """The rules that need no training, by name; the first is the first champion."""
    if target == "bid":
        return (("persistence", default_rules("bid")),)
    last = tuple(Rule("last", {"window": "rv_15m"}) for _ in HORIZONS_S)
    yesterday = tuple(Rule("tod", {"half_life_min": DEFAULT_HALF_LIFE_MIN}) for _ in HORIZONS_S)
    return (("ewma", default_rules("vol")), ("last", last), ("tod", yesterday))


def predict(rules: Sequence[Rule], rows: FeatureRows) -> Array:
    """Each horizon's rule applied to each row, shape (rows, horizons): a price, or a floored volatility."""
    out = np.empty((len(rows), len(rules)))
    table, columns = rule_table(tuple(rules), rows.columns), rule_columns(rows.columns)
    rule_values(columns, table, MINUTES, floors(), rows.matrix, out)
    return out


def row_scale(rows: FeatureRows) -> Array:
    """Expected volatility of the row per horizon (EWMA, half-life 15 min, floored), shape (rows, horizons)."""
    out = np.empty((len(rows), len(HORIZONS_S)))
    row_scales(rule_columns(rows.columns), MINUTES, floors(), rows.matrix, out)
    return out


def error_scale(target: Target, scale: Array) -> Array:
    """What forecast errors are measured in: log ratios for volatility, `row_scale` for the bid; the shape of both."""
    return scale if target == "bid" else np.ones_like(scale)


def reference_price(rows: FeatureRows) -> Array:
    """The bid now; the last price where no bid is known."""
    out = np.empty(len(rows))
    _reference_prices(rule_columns(rows.columns), rows.matrix, out)
    return out


def har_terms(rows: FeatureRows) -> Array:
    """What HAR regresses on, shape (rows, 3): logs of variance per minute over `HAR_COLUMNS`."""
    out = np.empty((len(rows), len(HAR_COLUMNS)))
    _har_terms(rule_columns(rows.columns), rows.matrix, out)
    return out


# The compiled formulas. The tables below are constants to them; horizons, defined elsewhere, are arguments.
MINUTES = np.asarray(HORIZONS_S) / 60.0
_PRICE, _HAR, _VARIANCE = range(3)
_WINDOWS = tuple(WINDOW_MIN)
_WINDOW_MIN = np.array(list(WINDOW_MIN.values()))
_HAR_WINDOWS = np.array([_WINDOWS.index(name) for name in HAR_COLUMNS])
LEVEL, SCALE = HALF_LIVES_MIN.index(DEFAULT_HALF_LIFE_MIN), HALF_LIVES_MIN.index(SCALE_HALF_LIFE_MIN)


class RuleColumns(NamedTuple):
    """Where the features that rules read stand in a row.

    Attributes:
        price: of the reference price, the best first.
        ewma: per half-life of the features, all half-lives, the nearest in length first.
        window, stand_in: per window of `WINDOW_MIN`, its column and the half-life that replaces it while not covered.
    """

    price: Ints
    ewma: Ints
    window: Ints
    stand_in: Ints


class RuleTable(NamedTuple):
    """The rules of all horizons, one per row of each array.

    Attributes:
        kind: `_PRICE` for persistence, `_HAR`, or `_VARIANCE` for those that scale one variance to the horizon.
        feature, feature_min: column of that variance and the minutes it covers; `ABSENT` for EWMA.
        ewma: columns of the half-lives that replace it where it is unknown, the nearest first.
        har: intercept and slopes.
    """

    kind: Ints
    feature: Ints
    feature_min: Array
    ewma: Ints
    har: Array


def _nearest(half_life_min: float) -> list[int]:
    return sorted(HALF_LIVES_MIN, key=lambda other: abs(np.log(other / half_life_min)))


def _ewma_places(columns: Sequence[str], half_life_min: float) -> Ints:
    return positions(columns, [f"ewma_rv_{half_life}m" for half_life in _nearest(half_life_min)])


@cache
def rule_columns(columns: tuple[str, ...]) -> RuleColumns:
    """Where rules find their features in rows of these columns."""
    stand_in = [HALF_LIVES_MIN.index(_nearest(_half_life(window))[0]) for window in WINDOW_MIN]
    return RuleColumns(
        positions(columns, PRICES),
        np.array([_ewma_places(columns, half_life) for half_life in HALF_LIVES_MIN]),
        positions(columns, WINDOW_MIN),
        np.array(stand_in, dtype=np.int64),
    )


def rule_table(rules: tuple[Rule, ...], columns: tuple[str, ...]) -> RuleTable:
    """The rules as the kernels take them, for rows of these columns."""
    kinds = {"persistence": _PRICE, "har": _HAR}
    features = [rule.params.get("window", "rv_tod" if rule.kind == "tod" else "") for rule in rules]
    flat = [0.0] * (1 + len(HAR_COLUMNS))
    return RuleTable(
        np.array([kinds.get(rule.kind, _VARIANCE) for rule in rules], dtype=np.int64),
        positions(columns, features),
        np.array([WINDOW_MIN.get(feature, 1.0) for feature in features]),
        np.array([_ewma_places(columns, _rule_half_life(rule)) for rule in rules]),
        np.array([rule.params.get("coefficients", flat) for rule in rules], dtype=np.float64),
    )


def _rule_half_life(rule: Rule) -> float:
    if "window" in rule.params:
        return _nearest(_half_life(rule.params["window"]))[0]
    return float(rule.params.get("half_life_min", DEFAULT_HALF_LIFE_MIN))


def _half_life(window: str) -> float:
    """The half-life in minutes whose weights are as old, on average, as a window's."""
    return WINDOW_MIN[window] / 2


@inlined
def ewma_variance(row: Array, columns: Ints) -> float:
    """Variance per minute by the first known EWMA; a tiny constant where none is known."""
    value = first_known(row, columns)
    return at_least(value, TINY) if np.isfinite(value) else TINY


@inlined
def _window_variance(row: Array, at: RuleColumns, window: int) -> float:
    """Variance per minute of a window; of the EWMA nearest in length where it is not yet covered."""
    known = value_at(row, at.window[window])
    covered = np.isfinite(known)
    value = known / _WINDOW_MIN[window] if covered else ewma_variance(row, at.ewma[at.stand_in[window]])
    return at_least(value, TINY)


@inlined
def _fill_har_terms(row: Array, at: RuleColumns, out: Array) -> None:
    for term in range(len(_HAR_WINDOWS)):
        out[term] = np.log(_window_variance(row, at, _HAR_WINDOWS[term]))


@inlined
def _variance(row: Array, rules: RuleTable, j: int) -> float:
    """Variance per minute by a rule other than HAR: of the feature it names, else by EWMA."""
    known = value_at(row, rules.feature[j]) / rules.feature_min[j]
    return at_least(known, TINY) if np.isfinite(known) else ewma_variance(row, rules.ewma[j])


@jit
def rule_values(at: RuleColumns, rules: RuleTable, minutes: Array, least: Array, matrix: Array, out: Array) -> None:
    """`predict`, into ``out`` of shape (rows, horizons)."""
    terms = np.empty(len(_HAR_WINDOWS))
    uses_har = np.any(rules.kind == _HAR)
    for r in range(len(matrix)):
        row = matrix[r]
        if uses_har:
            _fill_har_terms(row, at, terms)
        for j in range(len(rules.kind)):
            kind = rules.kind[j]
            if kind == _PRICE:
                out[r, j] = first_known(row, at.price)
            elif kind == _HAR:
                value = rules.har[j, 0]
                for term in range(len(terms)):
                    value += rules.har[j, 1 + term] * terms[term]
                out[r, j] = at_least(np.exp(0.5 * value), least[j])
            else:
                out[r, j] = at_least(np.sqrt(_variance(row, rules, j) * minutes[j]), least[j])


@jit
def row_scales(at: RuleColumns, minutes: Array, least: Array, matrix: Array, out: Array) -> None:
    """`row_scale`, into ``out`` of shape (rows, horizons)."""
    for r in range(len(matrix)):
        variance = ewma_variance(matrix[r], at.ewma[SCALE])
        for j in range(len(minutes)):
            out[r, j] = at_least(np.sqrt(variance * minutes[j]), least[j])


@jit
def _reference_prices(at: RuleColumns, matrix: Array, out: Array) -> None:
    for r in range(len(matrix)):
        out[r] = first_known(matrix[r], at.price)


@jit
def _har_terms(at: RuleColumns, matrix: Array, out: Array) -> None:
    for r in range(len(matrix)):
        _fill_har_terms(matrix[r], at, out[r])
