"""Conformal prediction intervals: online quantile tracking of past residuals, so that the width follows recent errors.

Residual of a forecast: e = log(truth / value) / scale, where scale is 1 for volatility and the row's own expected
volatility for the bid. The interval is value·exp(q·scale) between two quantiles q. After each scored minute a quantile
q of level τ moves by rate·(share of residuals above q - (1 - τ)): the quantile tracker of Angelopoulos, Candès and
Tibshirani (2023, "Conformal PID control"), whose long-run coverage holds whatever the market does.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from features.jit import jit
from forecast.model.rows import at_least
from forecast.model.targets import MICROS, Array, Times

LEVELS = (0.025, 0.1, 0.9, 0.975)
# Levels of an interval's ends in the order in which they are named: lower, upper, lower_95, upper_95.
_ENDS = (1, 2, 0, 3)
RATE = 0.02
# After a still time (all residuals alike) the quantiles must be able to move: by at least as much as for errors of 5 %.
MIN_SPREAD = 0.05
_MAX_STEP_MINUTES = 30.0
_NORMAL = (-1.959964, -1.281552, 1.281552, 1.959964)


@dataclass(frozen=True)
class Calibration:
    """The state an interval is computed from; `id` names it.

    Attributes:
        quantiles: per horizon, the residual quantiles at `LEVELS`.
        rate: how far a quantile moves per minute of unanimous misses, in units of `spread`.
        spread: per horizon, the scale of the residuals when the calibration was made.
        minutes: minutes of scored forecasts it has learnt from.
    """

    quantiles: tuple[tuple[float, ...], ...]
    spread: tuple[float, ...]
    rate: float = RATE
    minutes: float = 0.0

    @property
    def id(self) -> str:
        """First 12 hex digits of the SHA-256 of the state's JSON."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:12]

    @cached_property
    def array(self) -> Array:
        """The quantiles, shape (1, horizons, levels)."""
        return np.array([self.quantiles])

    def to_json(self) -> str:
        """Canonical JSON; floats round-trip exactly."""
        return json.dumps(asdict(self), sort_keys=True)

    @staticmethod
    def from_json(text: str) -> "Calibration":
        """The inverse of `to_json`."""
        return Calibration.from_dict(json.loads(text))

    @staticmethod
    def from_dict(body: Mapping[str, Any]) -> "Calibration":
        """From the values of `to_json`."""
        return Calibration(
            tuple(tuple(row) for row in body["quantiles"]), tuple(body["spread"]), body["rate"], body["minutes"]
        )


def normal(sigmas: Array) -> Calibration:
    """A first guess before any residual is known: normal residuals with the given deviation per horizon."""
    quantiles = tuple(tuple(float(sigma * z) for z in _NORMAL) for sigma in sigmas)
    return Calibration(quantiles, tuple(float(s) for s in sigmas))


def fit(residuals: Array, rate: float = RATE) -> Calibration:
    """Empirical quantiles of out-of-sample residuals, shape (rows, horizons); NaN residuals are left out."""
    quantiles = np.nanquantile(residuals, LEVELS, axis=0).T
    spread = np.maximum((quantiles[:, 2] - quantiles[:, 1]) / 2, MIN_SPREAD)
    return Calibration(tuple(tuple(map(float, row)) for row in quantiles), tuple(map(float, spread)), rate)


def update(calibration: Calibration, residuals: Array, minutes: float) -> Calibration:
    """The state after a batch of newly scored rows, shape (rows, horizons), that spans ``minutes``.

    Args:
        residuals: NaN where a horizon was not scored.
    """
    known = np.isfinite(residuals)
    count = known.sum(axis=0)[:, None]
    above = ((residuals[:, :, None] > np.asarray(calibration.quantiles)[None]) & known[:, :, None]).sum(axis=0)
    return moved(calibration, np.divide(above, count, out=np.full(above.shape, np.nan), where=count > 0), minutes)


def moved(calibration: Calibration, above: Array, minutes: float) -> Calibration:
    """The state after ``minutes`` in which these shares of residuals lay above the quantiles.

    Args:
        above: shape (horizons, levels); NaN where nothing was scored.
        minutes: capped at 30, so that one batch cannot throw the state far.
    """
    minutes = min(minutes, _MAX_STEP_MINUTES)
    step = calibration.rate * minutes * np.asarray(calibration.spread)[:, None]
    shift = np.nan_to_num(step * (above - (1 - np.asarray(LEVELS))))
    ordered = np.sort(np.asarray(calibration.quantiles) + shift, axis=1)
    return replace(
        calibration,
        quantiles=tuple(tuple(map(float, row)) for row in ordered),
        minutes=calibration.minutes + minutes,
    )


def bounds(calibration: Calibration, value: Array, scale: Array) -> tuple[Array, Array, Array, Array]:
    """``(lower, upper, lower_95, upper_95)`` around ``value``, each of its shape (rows, horizons)."""
    return ends(calibration.array, value, scale)


def ends(quantiles: Array, value: Array, scale: Array, least: Array | None = None) -> tuple[Array, Array, Array, Array]:
    """`bounds` from quantiles of shape (rows or 1, horizons, levels), no end below ``least``, shape (horizons,)."""
    out = np.empty((len(LEVELS), *value.shape))
    least = np.full(value.shape[1], -np.inf) if least is None else least
    fill_ends(np.ascontiguousarray(quantiles), value, scale, least, out)
    return out[0], out[1], out[2], out[3]


@jit
def fill_ends(quantiles: Array, value: Array, scale: Array, least: Array, out: Array) -> None:
    """`ends`, into ``out`` of shape (4, rows, horizons): lower, upper, lower_95, upper_95."""
    for r in range(len(value)):
        levels = quantiles[r % len(quantiles)]
        for j in range(value.shape[1]):
            for k in range(len(_ENDS)):
                out[k, r, j] = at_least(value[r, j] * np.exp(levels[j, _ENDS[k]] * scale[r, j]), least[j])


def residual(truth: Array, value: Array, scale: Array) -> Array:
    """e = log(truth / value) / scale, elementwise; NaN where the truth is not known."""
    return np.log(truth / value) / scale


def track(
    calibration: Calibration, residuals: Array, ts: Times, horizons_s: Sequence[int], block_s: int = 600
) -> tuple[Array, Calibration]:
    """The quantiles in force at each row, were the state updated every ``block_s`` with what was due by then.

    Args:
        residuals: of the forecasts made at ``ts`` (microseconds, ascending), shape (rows, horizons).

    Returns:
        Shape (rows, horizons, levels), and the state after the last block.
    """
    in_force = np.empty((*residuals.shape, len(LEVELS)))
    horizons = np.asarray(horizons_s, dtype=np.int64) * MICROS
    blocks = ts // (block_s * MICROS)
    starts = np.flatnonzero(np.diff(blocks, prepend=blocks[0] - 1))
    done = np.zeros(len(horizons), dtype=np.int64)
    for begin, end in zip(starts, [*starts[1:], len(ts)], strict=True):
        now = blocks[begin] * block_s * MICROS
        due = np.searchsorted(ts, now - horizons, side="right")
        first, last = int(done.min()), int(due.max())
        if last > first:
            order = np.arange(first, last)[:, None]
            fresh = np.where((order >= done) & (order < due), residuals[first:last], np.nan)
            calibration = update(calibration, fresh, block_s / 60)
            done = np.maximum(due, done)
        in_force[begin:end] = np.asarray(calibration.quantiles)
    return in_force, calibration
