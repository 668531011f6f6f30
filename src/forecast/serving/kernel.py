"""The compiled part of a forecast: from a row of features to values and intervals in one call of tens of microseconds.

The formulas are those of `baselines`, `inputs`, `linear`, `learned` and `conformal`, which are written for tables of
rows and cost a millisecond for one. `compiled` makes the `KernelPlan` from their own tables and holds the results
against theirs before a model is served this way. Everything compiled stands in this file, since
numba's cache looks at no other.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from features.jit import jit

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Floats32 = npt.NDArray[np.float32]

LANES = 8
# Kinds of input; `KernelPlan.inputs` gives each with its columns a and b and its constant c.
LEVEL, VARIANCE, RANGE, RETURN, BPS, FLOW, BALANCE, DISTANCE, AGE, PLAIN, SINE, COSINE, SINCE = range(13)
# Kinds of rule, as `baselines` names them, and their positions here.
RULES = ("persistence", "ewma", "last", "tod", "har")
PERSISTENCE, EWMA, LAST, TOD, HAR = range(5)


class KernelPlan(NamedTuple):
    """Where the numbers of a forecast stand in a row (-1: nowhere), and what they are combined with.

    H horizons, K inputs, W windows; half-lives are told by their position in ``ewma``.
    """

    is_vol: bool
    minutes: Floats  # (H,)
    floors: Floats  # (H,)
    tiny: float
    price: Ints  # columns of the reference price, the best first
    ewma: Ints  # (half-lives, columns), the nearest first
    level: int  # half-life of the level
    scale: int  # half-life of the expected volatility
    window: Ints  # (W,) column
    window_min: Floats  # (W,) minutes
    window_ewma: Ints  # (W,) half-life that stands in
    tod: int
    rule: Ints  # (H, 2) kind, and its half-life or window
    har: Floats  # (H, 1 + windows of HAR)
    har_window: Ints
    inputs: Ints  # (K, 3) kind, a, b; empty without a correction
    constant: Floats  # (K,)
    clock: Ints  # columns of sine and cosine of the time of day
    usual: Ints  # (stems, windows) columns of what is usual, the longest first
    usual_min: Floats
    least_share: float
    shares: Floats  # (H, 2) of the linear part and of the trees
    mean: Floats  # (H, K)
    sd: Floats
    weights: Floats
    intercept: Floats  # (H,)
    clip: float


class Trees(NamedTuple):
    """The arrays of a `Forest`."""

    nodes: npt.NDArray[np.void]
    leaves: Floats32
    roots: npt.NDArray[np.int32]
    depths: npt.NDArray[np.int32]
    groups: npt.NDArray[np.int32]
    bases: Floats32


@jit
def walk(trees: Trees, table: Floats32, out: Floats32) -> None:
    """Raw margins of inputs (rows, K) into ``out`` (rows, H): eight trees at once, added one after the other."""
    at = np.empty(LANES, np.int32)
    for output in range(len(trees.bases)):
        out[:, output] = trees.bases[output]
        for group in range(trees.groups[output], trees.groups[output + 1]):
            for row in range(len(table)):
                for lane in range(LANES):
                    at[lane] = trees.roots[LANES * group + lane]
                for _ in range(trees.depths[group]):
                    for lane in range(LANES):
                        node = trees.nodes[at[lane]]
                        value = table[row, node["feature"]]
                        # Missing compares false both ways; leaves (threshold infinity) stay where they are.
                        right = value >= node["threshold"] or (value != value and node["default_right"] != 0)
                        at[lane] = node["left"] + right
                for lane in range(LANES):
                    out[row, output] += trees.leaves[at[lane]]


@jit
def _get(row: Floats, column: int) -> float:
    return row[column] if column >= 0 else np.nan


@jit
def _first_known(row: Floats, columns: Ints) -> float:
    value = np.nan
    for column in columns:
        value = _get(row, column)
        if np.isfinite(value):
            break
    return value


@jit
def _least(value: float, least: float) -> float:
    """max(value, least), where unknown stays unknown."""
    return least if value < least else value


@jit
def _ewma(plan: KernelPlan, row: Floats, half_life: int) -> float:
    value = _first_known(row, plan.ewma[half_life])
    return _least(value, plan.tiny) if np.isfinite(value) else plan.tiny


@jit
def _window_log_variance(plan: KernelPlan, row: Floats, window: int) -> float:
    known = _get(row, plan.window[window])
    value = known / plan.window_min[window] if np.isfinite(known) else _ewma(plan, row, plan.window_ewma[window])
    return float(np.log(_least(value, plan.tiny)))


@jit
def _rule(plan: KernelPlan, row: Floats, price: float, j: int) -> float:
    kind, about = plan.rule[j]
    if kind == PERSISTENCE:
        return price
    if kind == EWMA:
        value = np.log(_ewma(plan, row, about) * plan.minutes[j])
    elif kind == LAST:
        value = _window_log_variance(plan, row, about) + np.log(plan.minutes[j])
    elif kind == TOD:
        known = _get(row, plan.tod)
        variance = known if np.isfinite(known) else _ewma(plan, row, about)
        value = np.log(_least(variance, plan.tiny) * plan.minutes[j])
    else:
        value = plan.har[j, 0]
        for i in range(len(plan.har_window)):
            value += plan.har[j, 1 + i] * _window_log_variance(plan, row, plan.har_window[i])
    return _least(np.exp(0.5 * value), plan.floors[j])


@jit
def _inputs(plan: KernelPlan, row: Floats, price: float, out: Floats32) -> None:
    level = np.log(_ewma(plan, row, plan.level))
    unit = np.exp(0.5 * level)
    # To the millisecond: a full hour must not come out as the last instant of the one before.
    day = np.arctan2(_get(row, plan.clock[0]), _get(row, plan.clock[1])) * (720.0 / np.pi)
    minute = np.mod(np.round(day * 60_000.0), 86_400_000.0) / 60_000.0
    usual = np.empty(len(plan.usual))
    for stem in range(len(plan.usual)):
        usual[stem] = np.nan
        for i in range(len(plan.usual_min)):
            if not usual[stem] > 0:
                usual[stem] = _get(row, plan.usual[stem, i]) / plan.usual_min[i]
    for k in range(len(plan.inputs)):
        kind, a, b = plan.inputs[k]
        constant, x = plan.constant[k], _get(row, a)
        if kind == LEVEL:
            x = level
        elif kind == VARIANCE:
            x = np.log(_least(x / constant, plan.tiny)) - level
        elif kind == RANGE:
            x = np.log(_least((x / 1e4) ** 2 / (4 * np.log(2)) / constant, plan.tiny)) - level
        elif kind == RETURN:
            x = x / (unit * constant)
        elif kind == BPS:
            x = x / 1e4 / (unit * constant)
        elif kind == FLOW:
            x = np.log(x / constant / usual[b] + plan.least_share) if usual[b] > 0 else np.nan
        elif kind == BALANCE:
            volume = _get(row, b)
            x = x / volume if volume > 0 else np.nan
        elif kind == DISTANCE:
            x = np.log(x / price) / unit
        elif kind == AGE:
            x = np.log1p(_least(x, 0.0))
        elif kind == SINE:
            x = np.sin(minute * (2 * np.pi / constant))
        elif kind == COSINE:
            x = np.cos(minute * (2 * np.pi / constant))
        elif kind == SINCE:
            x = np.mod(minute, constant)
        out[k] = x


@jit
def _linear(plan: KernelPlan, inputs: Floats32, j: int) -> float:
    value = float(plan.intercept[j])
    for k in range(len(inputs)):
        if plan.weights[j, k] != 0.0:
            x = (np.float64(inputs[k]) - plan.mean[j, k]) / plan.sd[j, k]
            if x == x:
                value += plan.weights[j, k] * min(max(x, -plan.clip), plan.clip)
    return value


@jit
def forecast(plan: KernelPlan, trees: Trees, quantiles: Floats, matrix: Floats, out: Floats) -> None:
    """Fills ``out`` (6, rows, H) with value, lower, upper, lower_95, upper_95 and baseline.

    Args:
        quantiles: of the residuals, (H, 4), as a `Calibration` holds them.
        matrix: features, (rows, columns).
    """
    rows, horizons, width = len(matrix), len(plan.minutes), len(plan.inputs)
    inputs = np.empty((rows, width), np.float32)
    margins = np.zeros((rows, horizons), np.float32)
    if width:
        for r in range(rows):
            _inputs(plan, matrix[r], _first_known(matrix[r], plan.price), inputs[r])
        walk(trees, inputs, margins)
    for r in range(rows):
        row = matrix[r]
        price, expected = _first_known(row, plan.price), _ewma(plan, row, plan.scale)
        for j in range(horizons):
            baseline = _rule(plan, row, price, j)
            scale = _least(np.sqrt(expected * plan.minutes[j]), plan.floors[j])
            value = baseline
            if width:
                correction = _linear(plan, inputs[r], j) * plan.shares[j, 0] + margins[r, j] * plan.shares[j, 1]
                value = baseline * np.exp(0.5 * correction if plan.is_vol else correction * scale)
            least = plan.floors[j] if plan.is_vol else -np.inf
            if plan.is_vol:
                scale = 1.0
            value = _least(value, least)
            out[0, r, j] = value
            out[1, r, j] = _least(value * np.exp(quantiles[j, 1] * scale), least)
            out[2, r, j] = _least(value * np.exp(quantiles[j, 2] * scale), least)
            out[3, r, j] = _least(value * np.exp(quantiles[j, 0] * scale), least)
            out[4, r, j] = _least(value * np.exp(quantiles[j, 3] * scale), least)
            out[5, r, j] = baseline
