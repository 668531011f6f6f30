"""Model inputs: features normalised for price level and unit, so that models transfer between markets and years.

Variances become logs of variance per minute relative to the row's own level (EWMA, half-life 30 min), prices become log
distances in units of that level, volumes and counts logs relative to the day's (or to the longest window known).
Unknown stays NaN. `TERMS` lists every input; the compiled `fill_inputs` evaluates them.
"""

from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from features.jit import inlined, jit
from forecast.model.baselines import EWMA_COLUMNS, LEVEL, TINY, WINDOW_MIN, RuleColumns, ewma_variance, rule_columns
from forecast.model.rows import FeatureRows, at_least, first_known, positions, value_at
from forecast.model.targets import Array
from lakehouse.arrays import Ints

Inputs = npt.NDArray[np.float32]
_SHORT = {"10s": 1 / 6, "1m": 1.0, "5m": 5.0, "15m": 15.0, "1h": 60.0}
_ALL = {**_SHORT, "4h": 240.0, "24h": 1440.0}
_VARIANCES = {"rv_10s": 1 / 6, **WINDOW_MIN, **dict.fromkeys((*EWMA_COLUMNS, "rv_tod"), 1.0)}
_FLOWS = {window: minutes for window, minutes in _ALL.items() if window != "24h"}
_USUAL = {"24h": 1440.0, "4h": 240.0, "1h": 60.0}
_MIN_SHARE = 1e-3
# Markets stir at full, half and quarter hours: waves for the linear part, the plain minute for the trees.
_WAVES_MIN = {"hour": 60.0, "half_hour": 30.0, "quarter": 15.0}
MINUTES = {"minute_of_hour": 60.0, "minute_of_quarter": 15.0}

# What is done with a feature: see `_value`.
(_LEVEL, _VARIANCE, _RANGE, _RETURN, _BPS, _VOLUME_FLOW, _TRADES_FLOW, _BALANCE, _DISTANCE) = range(9)
(_AGE, _PLAIN, _SINE, _COSINE, _SINCE) = range(9, 14)


class Term(NamedTuple):
    """One input: its formula's kind, the features it reads, and the formula's constant (mostly minutes)."""

    name: str
    kind: int
    feature: str = ""
    other: str = ""
    constant: float = 1.0


TERMS: tuple[Term, ...] = (
    Term("level", _LEVEL),
    *(Term(f"log_{name}", _VARIANCE, name, constant=minutes) for name, minutes in _VARIANCES.items()),
    *(Term(f"log_range_bps_{w}", _RANGE, f"range_bps_{w}", constant=minutes) for w, minutes in _SHORT.items()),
    *(Term(f"ret_{w}", _RETURN, f"ret_{w}", constant=minutes**0.5) for w, minutes in _ALL.items()),
    *(Term(f"momentum_{w}", _BPS, f"momentum_{w}", constant=minutes**0.5) for w, minutes in _SHORT.items()),
    *(Term(f"log_volume_{w}", _VOLUME_FLOW, f"volume_{w}", constant=minutes) for w, minutes in _FLOWS.items()),
    *(Term(f"log_trades_{w}", _TRADES_FLOW, f"trades_{w}", constant=minutes) for w, minutes in _FLOWS.items()),
    *(Term(f"balance_{w}", _BALANCE, f"signed_volume_{w}", f"volume_{w}") for w in _FLOWS),
    *(Term(f"log_{name}_to_bid", _DISTANCE, name) for name in ("last", "microprice", "mid", "ask")),
    Term("spread", _BPS, "spread_bps"),
    *(Term(f"log_{name}", _AGE, name) for name in ("trade_age", "quote_age")),
    *(Term(name, _PLAIN, name) for name in ("imbalance", "tod_sin", "tod_cos", "dow")),
    *(Term(f"{name}_sin", _SINE, constant=minutes) for name, minutes in _WAVES_MIN.items()),
    *(Term(f"{name}_cos", _COSINE, constant=minutes) for name, minutes in _WAVES_MIN.items()),
    *(Term(name, _SINCE, constant=minutes) for name, minutes in MINUTES.items()),
)
NAMES: tuple[str, ...] = tuple(term.name for term in TERMS)


def table(rows: FeatureRows) -> Inputs:
    """Inputs in the order of `NAMES`, shape (rows, len(NAMES)); unknown values are NaN."""
    out = np.empty((len(rows), len(NAMES)), np.float32)
    fill_inputs(rule_columns(rows.columns), input_columns(rows.columns), rows.matrix, out)
    return out


class InputColumns(NamedTuple):
    """Where the features that inputs read stand in a row.

    Attributes:
        feature, other: per term. clock: sine and cosine of the time of day.
        usual: volumes and trades of the windows that tell what is usual, the longest first, shape (2, windows).
    """

    feature: Ints
    other: Ints
    clock: Ints
    usual: Ints


@cache
def input_columns(columns: tuple[str, ...]) -> InputColumns:
    """Where inputs find their features in rows of these columns."""
    return InputColumns(
        positions(columns, [term.feature for term in TERMS]),
        positions(columns, [term.other for term in TERMS]),
        positions(columns, ("tod_sin", "tod_cos")),
        np.array([positions(columns, [f"{stem}_{w}" for w in _USUAL]) for stem in ("volume", "trades")]),
    )


_KINDS = np.array([term.kind for term in TERMS], dtype=np.int64)
_CONSTANTS = np.array([term.constant for term in TERMS], dtype=np.float64)
_USUAL_MIN = np.array(list(_USUAL.values()))


@jit
def fill_inputs(prices: RuleColumns, at: InputColumns, matrix: Array, out: Inputs) -> None:
    """`table`, into ``out`` of shape (rows, len(NAMES))."""
    for r in range(len(matrix)):
        row = matrix[r]
        level = np.log(ewma_variance(row, prices.ewma[LEVEL]))
        unit, price, minute = np.exp(0.5 * level), first_known(row, prices.price), _minute_of_day(row, at.clock)
        usual = (_usual(row, at.usual[0]), _usual(row, at.usual[1]))
        for k in range(len(_KINDS)):
            kind, constant, x = _KINDS[k], _CONSTANTS[k], value_at(row, at.feature[k])
            if kind in (_VOLUME_FLOW, _TRADES_FLOW):
                flow = usual[kind - _VOLUME_FLOW]
                out[r, k] = np.log(x / constant / flow + _MIN_SHARE) if flow > 0 else np.nan
            elif kind == _BALANCE:
                volume = value_at(row, at.other[k])
                out[r, k] = x / volume if volume > 0 else np.nan
            elif kind == _DISTANCE:
                out[r, k] = np.log(x / price) / unit
            else:
                out[r, k] = _value(kind, x, constant, level, unit, minute)


@inlined
def _value(kind: int, x: float, constant: float, level: float, unit: float, minute: float) -> float:
    """An input that takes one feature, or none but the row's level or its time of day."""
    if kind == _VARIANCE:
        return float(np.log(at_least(x / constant, TINY)) - level)
    if kind == _RANGE:
        return float(np.log(at_least((x / 1e4) ** 2 / (4 * np.log(2)) / constant, TINY)) - level)
    if kind == _RETURN:
        return x / (unit * constant)
    if kind == _BPS:
        return x / 1e4 / (unit * constant)
    if kind == _AGE:
        return float(np.log1p(at_least(x, 0.0)))
    if kind == _SINE:
        return float(np.sin(minute * (2 * np.pi / constant)))
    if kind == _COSINE:
        return float(np.cos(minute * (2 * np.pi / constant)))
    if kind == _SINCE:
        return float(np.mod(minute, constant))
    return level if kind == _LEVEL else x


@inlined
def _minute_of_day(row: Array, clock: Ints) -> float:
    """Minutes since midnight, to the millisecond: a full hour must not come out as the last instant before it."""
    day = np.arctan2(value_at(row, clock[0]), value_at(row, clock[1])) * (720.0 / np.pi)
    return float(np.mod(np.round(day * 60_000.0), 86_400_000.0) / 60_000.0)


@inlined
def _usual(row: Array, columns: Ints) -> float:
    """Volume or trades per minute of the longest window that knows any."""
    usual = np.nan
    for i in range(len(columns)):
        if not usual > 0:
            usual = value_at(row, columns[i]) / _USUAL_MIN[i]
    return usual
