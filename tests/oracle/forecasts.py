"""The formulas of rules, inputs, linear parts and intervals again, in plain numpy over whole columns."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from forecast.model.baselines import Rule
from forecast.model.correction import Correction
from forecast.model.forecaster import Forecaster, Prediction
from forecast.model.inputs import Inputs
from forecast.model.linear import Linear
from forecast.model.targets import Array

HORIZON_MIN = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
FLOORS = 1e-4 * np.sqrt(HORIZON_MIN / 5.0)
TINY = 2e-10
HALF_LIVES = (5, 15, 30, 60, 120, 240)
WINDOWS = {"rv_1m": 1.0, "rv_5m": 5.0, "rv_15m": 15.0, "rv_1h": 60.0, "rv_4h": 240.0, "rv_24h": 1440.0}
SHORT = {"10s": 1 / 6, "1m": 1.0, "5m": 5.0, "15m": 15.0, "1h": 60.0}
MEDIUM = {**SHORT, "4h": 240.0}
LONG = {**MEDIUM, "24h": 1440.0}


class Columns:
    """A matrix read by name, a column at a time; a column that is not there is unknown throughout."""

    def __init__(self, matrix: Array, names: Sequence[str]) -> None:
        self._columns = dict(zip(names, matrix.T, strict=True))
        self.rows = len(matrix)

    def __getitem__(self, name: str) -> Array:
        return np.asarray(self._columns.get(name, np.full(self.rows, np.nan)))

    def block(self, names: Iterable[str]) -> Array:
        """Several columns side by side."""
        return np.column_stack([self[name] for name in names])

    def first_known(self, names: Iterable[str]) -> Array:
        """Per row the first that is known."""
        value = np.full(self.rows, np.nan)
        for name in names:
            value = np.where(np.isfinite(value), value, self[name])
        return value


def price(rows: Columns) -> Array:
    """Bid, else last, else mid."""
    return rows.first_known(("bid", "last", "mid"))


def ewma(rows: Columns, half_life: float) -> Array:
    """Variance per minute by the EWMA nearest in length that is known."""
    nearest = sorted(HALF_LIVES, key=lambda other: abs(np.log(other / half_life)))
    value = rows.first_known(f"ewma_rv_{h}m" for h in nearest)
    return np.maximum(np.where(np.isfinite(value), value, TINY), TINY)


def window(rows: Columns, name: str) -> Array:
    """Log variance per minute of a window."""
    value = np.where(np.isfinite(rows[name]), rows[name] / WINDOWS[name], ewma(rows, WINDOWS[name] / 2))
    return np.asarray(np.log(np.maximum(value, TINY)))


def log_variance(rule: Rule, rows: Columns, minutes: float) -> Array:
    """What a volatility rule says of the log variance."""
    if rule.kind == "ewma":
        return np.asarray(np.log(ewma(rows, rule.params["half_life_min"]) * minutes))
    if rule.kind == "last":
        return np.asarray(window(rows, rule.params["window"]) + np.log(minutes))
    if rule.kind == "tod":
        value = np.where(np.isfinite(rows["rv_tod"]), rows["rv_tod"], ewma(rows, rule.params["half_life_min"]))
        return np.asarray(np.log(np.maximum(value, TINY) * minutes))
    intercept, *slopes = rule.params["coefficients"]
    terms = np.column_stack([window(rows, name) for name in ("rv_5m", "rv_1h", "rv_24h")])
    return np.asarray(intercept + terms @ np.array(slopes))


def baseline(rules: Sequence[Rule], rows: Columns) -> Array:
    """Every horizon's rule on every row."""
    if rules[0].kind == "persistence":
        return np.repeat(price(rows)[:, None], len(rules), axis=1)
    found = [log_variance(rule, rows, minutes) for rule, minutes in zip(rules, HORIZON_MIN, strict=True)]
    return np.maximum(np.exp(0.5 * np.column_stack(found)), FLOORS)


def scale(rows: Columns) -> Array:
    """Expected volatility per horizon."""
    return np.asarray(np.maximum(np.sqrt(ewma(rows, 15)[:, None] * HORIZON_MIN), FLOORS))


def inputs(rows: Columns) -> Inputs:
    """The models' inputs, block by block."""
    level = np.log(ewma(rows, 30))[:, None]
    unit = np.exp(0.5 * level)
    variances = {"rv_10s": 1 / 6, **WINDOWS, **{f"ewma_rv_{h}m": 1.0 for h in HALF_LIVES}, "rv_tod": 1.0}
    ranges = (rows.block(f"range_bps_{w}" for w in SHORT) / 1e4) ** 2 / (4 * np.log(2))
    parts = [
        level,
        _relative(rows.block(variances), variances, level),
        _relative(ranges, SHORT, level),
        rows.block(f"ret_{w}" for w in LONG) / (unit * np.sqrt(_minutes(LONG))),
        rows.block(f"momentum_{w}" for w in SHORT) / 1e4 / (unit * np.sqrt(_minutes(SHORT))),
        _flow(rows, "volume"),
        _flow(rows, "trades"),
        _balance(rows),
        np.log(rows.block(("last", "microprice", "mid", "ask")) / price(rows)[:, None]) / unit,
        rows["spread_bps"][:, None] / 1e4 / unit,
        np.log1p(np.maximum(rows.block(("trade_age", "quote_age")), 0.0)),
        rows.block(("imbalance", "tod_sin", "tod_cos", "dow")),
        _clock(rows),
    ]
    return np.concatenate(parts, axis=1).astype(np.float32)


def _minutes(windows: Mapping[str, float]) -> Array:
    return np.array(list(windows.values()))


def _relative(variance: Array, minutes: Mapping[str, float], level: Array) -> Array:
    return np.asarray(np.log(np.maximum(variance / _minutes(minutes), TINY)) - level)


def _flow(rows: Columns, stem: str) -> Array:
    usual = np.full(rows.rows, np.nan)
    for name, minutes in {"24h": 1440.0, "4h": 240.0, "1h": 60.0}.items():
        usual = np.where(usual > 0, usual, rows[f"{stem}_{name}"] / minutes)
    flow = rows.block(f"{stem}_{w}" for w in MEDIUM) / _minutes(MEDIUM)
    share = np.where(usual[:, None] > 0, flow / usual[:, None], np.nan)
    return np.asarray(np.log(share + 1e-3))


def _balance(rows: Columns) -> Array:
    volume = rows.block(f"volume_{w}" for w in MEDIUM)
    return np.where(volume > 0, rows.block(f"signed_volume_{w}" for w in MEDIUM) / volume, np.nan)


def _clock(rows: Columns) -> Array:
    day = np.arctan2(rows["tod_sin"], rows["tod_cos"]) * (720.0 / np.pi)
    minute = np.mod(np.round(day * 60_000.0), 86_400_000.0)[:, None] / 60_000.0
    phase = minute * (2 * np.pi / np.array([60.0, 30.0, 15.0]))
    return np.concatenate([np.sin(phase), np.cos(phase), np.mod(minute, [60.0, 15.0])], axis=1)


def linear(line: Linear, table: Inputs) -> Array:
    """A linear part on every row."""
    known = table[:, line.columns].astype(np.float64)
    value: Array = np.clip(np.nan_to_num((known - line.mean) / line.sd), -4.0, 4.0) @ line.weights + line.intercept
    return value


def forecast(model: Forecaster, matrix: Array) -> Prediction:
    """What the forecaster must say, its boosters' margins taken from their library."""
    rows = Columns(matrix, model.columns)
    rule, unit, vol = baseline(model.rules, rows), scale(rows), model.target == "vol"
    value = rule
    if model.correction is not None:
        correction = _correction(model.correction, inputs(rows))
        value = rule * np.exp(0.5 * correction if vol else correction * unit)
    floor = FLOORS if vol else -np.inf
    value = np.maximum(value, floor)
    quantiles = np.array(model.calibration.quantiles)
    unit = np.ones_like(unit) if vol else unit
    low_95, low, high, high_95 = (np.maximum(value * np.exp(quantiles[:, k] * unit), floor) for k in range(4))
    return Prediction(value, low, high, low_95, high_95, rule)


def _correction(learned: Correction, table: Inputs) -> Array:
    margins = [np.asarray(b.inplace_predict(table, predict_type="margin"), np.float64) for b in learned.boosters]
    lines = [linear(line, table) for line in learned.linear]
    on_linear, on_margin = np.array(learned.shares).T
    return np.asarray(np.column_stack(lines) * on_linear + np.column_stack(margins) * on_margin)
